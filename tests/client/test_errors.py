"""The error tree gets over the wire as the class it was."""

import pickle

import pytest

from host_plugins.client.errors import (
    Cancelled,
    CapacityError,
    DvmError,
    InputError,
    ProtocolError,
    ServerError,
    SetupError,
    from_wire,
)

EXIT_CODES = {InputError: 10, SetupError: 20, ServerError: 70, CapacityError: 75, Cancelled: 130}


@pytest.mark.parametrize("kind", EXIT_CODES)
def test_every_class_comes_back_as_it_was(kind):
    error = kind("some.code", "One sentence.", shot="s", frame=-4, hint="Do this.", report="17")
    for copy in (from_wire(error.to_wire()), pickle.loads(pickle.dumps(error))):
        assert type(copy) is kind
        assert vars(copy) == vars(error)
        assert str(copy) == "One sentence."
    assert error.exit_code == EXIT_CODES[kind]


def test_a_protocol_error_is_the_wranglers():
    error = ProtocolError("a header is not a map")
    assert isinstance(error, SetupError)
    assert type(from_wire(error.to_wire())) is SetupError
    assert error.exit_code == 20


def test_an_error_gets_through_from_a_peer_that_says_it_differently():
    error = from_wire({"class": "cosmic", "message": "Rays.", "frame": "x", "hint": 3, "new": 1})
    assert type(error) is ServerError
    assert (error.message, error.frame, error.hint) == ("Rays.", None, "")
    assert str(from_wire({})) == "the server failed without saying why"


def test_texts_of_a_peer_are_bounded():
    assert len(from_wire({"message": "x" * 100_000}).message) == 4000


def test_all_are_caught_by_their_base():
    assert all(issubclass(kind, DvmError) for kind in EXIT_CODES)
    assert str(Cancelled()) == "cancelled"
