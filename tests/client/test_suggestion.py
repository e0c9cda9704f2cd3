"""The suggested next keyframe as a client reads it: a field that older servers lack."""

import pytest

from host_plugins.client import events
from host_plugins.client.errors import ProtocolError
from host_plugins.client.wire import Message

BODY = {"total": 3, "computed": 2, "kept": 1, "seconds": 0.5}


@pytest.mark.parametrize(
    ("told", "expected"), [({}, None), ({"suggest": None}, None), ({"suggest": -4}, -4)]
)
def test_done(told, expected):
    event = events.event(Message("done", job="job", body={**BODY, **told}), 10)
    assert isinstance(event, events.Done)
    assert (event.suggest, event.computed) == (expected, 2)


@pytest.mark.parametrize("told", ["7", 7.5, True, 10**9, [7]])
def test_what_is_no_frame(told):
    with pytest.raises(ProtocolError, match="suggest"):
        events.event(Message("done", job="job", body={**BODY, "suggest": told}), 10)
