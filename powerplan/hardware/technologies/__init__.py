"""Published technologies: what was measured, as plain fields of a hardware, with its source and its limits."""

from powerplan.hardware.technologies import generic, pcm, reram, sonos
from powerplan.hardware.technologies.technology import Technology as Technology

#: every published technology by name
TECHNOLOGIES = {
    technology.name: technology
    for technology in (*pcm.TECHNOLOGIES, *reram.TECHNOLOGIES, *sonos.TECHNOLOGIES, *generic.TECHNOLOGIES)
}
