"""The messages: generated from their description, and those of the protocol's other programs."""

import subprocess
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor
from tritonclient.grpc import service_pb2

from service.grpc import open_inference_pb2
from tests.serving import ROOT

GENERATED = ("service/grpc/open_inference_pb2.py", "service/grpc/open_inference_pb2.pyi")


def test_the_modules_are_what_make_proto_generates(tmp_path: Path) -> None:
    command = ["make", "--no-print-directory", "--assume-old=.venv/dev/.installed", "proto"]
    subprocess.run([*command, f"OUT={tmp_path}"], cwd=ROOT, check=True, capture_output=True)
    for name in GENERATED:
        assert (tmp_path / name).read_text() == (ROOT / name).read_text(), "run make proto"


def fields(message: Descriptor) -> dict[str, tuple[object, ...]]:
    """The fields of a message: number, type, whether it is repeated, and the type's name."""
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.message_type and field.message_type.full_name,
            field.containing_oneof and field.containing_oneof.name,
        )
        for field in message.fields
    }


def messages(found: dict[str, Descriptor]) -> dict[str, Descriptor]:
    """The messages by their names, with those within them."""
    every = {}
    for message in found.values():
        every[message.full_name] = message
        every |= messages(message.nested_types_by_name)
    return every


OURS = messages(open_inference_pb2.DESCRIPTOR.message_types_by_name)
TRITONS = messages(service_pb2.DESCRIPTOR.message_types_by_name)


@pytest.mark.parametrize("name", OURS)
def test_names_and_numbers_are_tritons(name: str) -> None:
    assert fields(OURS[name]) == fields(TRITONS[name])


def test_methods_are_tritons() -> None:
    def methods(descriptor: object) -> dict[str, tuple[object, ...]]:
        service = descriptor.services_by_name["GRPCInferenceService"]  # type: ignore[attr-defined]
        return {
            one.name: (
                one.input_type.full_name,
                one.output_type.full_name,
                one.client_streaming,
                one.server_streaming,
            )
            for one in service.methods
        }

    assert methods(open_inference_pb2.DESCRIPTOR).items() <= methods(service_pb2.DESCRIPTOR).items()
