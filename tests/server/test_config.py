"""Settings from TOML."""

from __future__ import annotations

import pytest

from dvm_server.config import ServerConfig, load_config
from host_plugins.client.errors import SetupError


def test_a_whole_file(tmp_path):
    path = tmp_path / "server.toml"
    path.write_text(
        f'state = "{tmp_path / "state"}"\n'
        'bind = "tcp://127.0.0.1:7711"\n'
        'devices = ["cuda:0", "cuda:1"]\n'
        'roots = ["/shows"]\n'
        "quota_bytes = 1000\n"
        "decode_seconds = 5\n"
        "[limits]\n"
        "parts = 7\n"
    )
    config = load_config(path, bind="tcp://127.0.0.1:*")
    assert config.state == tmp_path / "state"
    assert config.bind == "tcp://127.0.0.1:*"  # the command line wins
    assert config.devices == ("cuda:0", "cuda:1")
    assert [str(root) for root in config.roots] == ["/shows"]
    assert (config.quota_bytes, config.decode_seconds, config.limits.parts) == (1000, 5, 7)
    assert config.limits.part_bytes == ServerConfig(state=tmp_path).limits.part_bytes


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("port = 7", "'port'"),
        ("[limits]\nplates = 7", "'plates'"),
        ('quota_bytes = "much"', "'quota_bytes'"),
        ("quota_bytes = -1", "'quota_bytes'"),
        ("private = 1", "'private'"),
        ('devices = "cpu"', "'devices'"),
        ("devices = []", "'devices'"),
        ('log_level = "LOUD"', "'log_level'"),
        ("quota_bytes = ", "TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, named):
    path = tmp_path / "server.toml"
    path.write_text(text)
    with pytest.raises(SetupError) as caught:
        load_config(path)
    assert caught.value.code == "setup.config" and caught.value.hint
    assert named in caught.value.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SetupError) as caught:
        load_config(tmp_path / "gone.toml")
    assert "gone.toml" in caught.value.message
