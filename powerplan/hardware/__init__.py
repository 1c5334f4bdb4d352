"""What the device is: conductance range, noise, limits; and the gains that map a network onto it."""

from powerplan.hardware.gains import Gains
from powerplan.hardware.hardware import Hardware

__all__ = ["Gains", "Hardware"]
