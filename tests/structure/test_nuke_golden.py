"""The node's text that is checked in, and pasted, is the one that the tables make."""

from host_plugins.nuke import group


def test_the_text_is_up_to_date():
    assert group.FILE.read_text(encoding="utf-8") == group.text(), (
        "write it anew with python -m host_plugins.nuke.group"
    )


def test_only_references_to_knobs_are_expressions():
    """Clever ones have destroyed scripts of other tools."""
    for one in group.NODES:
        for reference in one.follows.values():
            name = reference.lstrip("-")
            assert name.startswith("parent.dvm_") and name.count(".") == 1, reference
