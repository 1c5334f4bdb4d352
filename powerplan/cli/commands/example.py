"""``powerplan example``."""

from __future__ import annotations

import io

import click
import numpy as np

from powerplan.cli import options as opt
from powerplan.cli.chat import Chat
from powerplan.cli.command import Command
from powerplan.cli.completion import ExampleName
from powerplan.cli.output import document, write_json
from powerplan.files import write_bytes


@click.command("example", cls=Command, short_help="Write a built-in network and its inputs to files.")
@click.argument("name", type=ExampleName())
@click.option("--output", "network_file", type=click.Path(), metavar="FILE.npz", help="Write the trained network.")
@click.option("--inputs", "inputs_file", type=click.Path(), metavar="FILE.npy", help="Write the calibration inputs.")
@click.option("--labels", "labels_file", type=click.Path(), metavar="FILE.npy", help="Write their classes.")
@opt.seed_option
@opt.output_options
@click.pass_obj
def command(
    chat: Chat,
    /,
    name: str,
    network_file: str | None,
    inputs_file: str | None,
    labels_file: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """Train the built-in example NAME (iris, digits, mnist, mnist_cnn or mnist_resnet) and write it to files.

    The mnist examples need the MNIST test files in the folder named by POWERPLAN_DATA.

    \b
    powerplan example digits --output net.npz --inputs x.npy --labels y.npy
    """
    from powerplan.examples import load_example

    example = load_example(name, seed=seed)
    if network_file is not None:
        example.network.save(network_file)
        chat.note(f"wrote {network_file}")
    for array, file in ((example.inputs, inputs_file), (example.labels, labels_file)):
        if file is not None:
            content = io.BytesIO()
            np.save(content, array, allow_pickle=False)
            write_bytes("output", file, content.getvalue())
            chat.note(f"wrote {file}")
    if as_json:
        write_json(
            document(
                "example",
                name=example.name,
                description=example.description,
                network_sha256=example.network.digest,
                inputs=list(example.inputs.shape),
                train_accuracy=example.train_accuracy,
                test_accuracy=example.test_accuracy,
            )
        )
    else:
        click.echo(
            f"{example.name}: {example.description}\n"
            f"{len(example.inputs)} calibration inputs; noise-free accuracy {example.train_accuracy:.2%} on the "
            f"training set, {example.test_accuracy:.2%} on {len(example.test_inputs)} held-out inputs"
        )
