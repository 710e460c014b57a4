"""The socket that the server listens on."""

import socket

import pytest

from lockstep.api.server import listening, url_of
from lockstep.errors import InvalidSetting
from lockstep.settings import Settings


def _settings(host: str, port: int = 0) -> Settings:
    return Settings.model_construct(host=host, port=port)


def test_port_0_takes_a_free_one_and_the_url_names_it() -> None:
    with listening(_settings("127.0.0.1")) as listener:
        port = listener.getsockname()[1]
        assert url_of(listener) == f"http://127.0.0.1:{port}"
        with socket.create_connection(("127.0.0.1", port)):
            pass


def test_the_socket_says_that_it_is_tcp() -> None:
    """asyncio turns off the delay of small packets (40 ms an answer) for no other socket."""
    with listening(_settings("127.0.0.1")) as listener:
        assert listener.proto == socket.IPPROTO_TCP


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_an_ipv6_address_stands_in_brackets() -> None:
    with listening(_settings("::1")) as listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid"])
def test_an_address_that_cannot_be_taken_is_named(host: str) -> None:
    with listening(_settings("127.0.0.1")) as listener:
        port = listener.getsockname()[1]
        with (
            pytest.raises(InvalidSetting, match=f"host '{host}', port {port}"),
            listening(_settings(host, port)),
        ):
            pass
