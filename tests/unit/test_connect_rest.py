"""What the client of Connect's interface makes of answers that a healthy worker seldom gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import SecretStr

from lakehouse.errors import ServiceError
from lakehouse.registry import Registry
from lakehouse.settings import Settings
from operate.connect_rest import ConnectRest

Answers = list[tuple[int, bytes]]


@pytest.fixture
def answers() -> Answers:
    """The next answers of the server; the last one again and again."""
    return []


@pytest.fixture
def settings(answers: Answers) -> Iterator[Settings]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            if 300 <= code < 400:
                self.send_header("Location", body.decode())
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield Settings(connect_url=f"http://127.0.0.1:{server.server_address[1]}/")
        server.shutdown()
        thread.join()


def test_a_rebalance_is_waited_for(answers: Answers, settings: Settings) -> None:
    answers += [(409, b'{"message":"rebalance"}'), (503, b""), (200, b'[{"class":"a.B"}]')]
    assert ConnectRest(settings).plugins() == ["a.B"]


def test_a_rebalance_without_end_is_an_error(answers: Answers, settings: Settings) -> None:
    answers.append((409, b'{"error_code":409,"message":"a rebalance is in process"}'))
    with pytest.raises(ServiceError, match=r"refuses for 0 s \(HTTP 409\): a rebalance is in process"):
        ConnectRest(settings, patience_s=0).plugins()


@pytest.mark.parametrize("body", [b"<html>gateway</html>", b"[]", b'{"other":1}', b"\xff"])
def test_an_error_without_a_message_is_shown_as_it_is(answers: Answers, settings: Settings, body: bytes) -> None:
    answers.append((500, body))
    with pytest.raises(ServiceError, match=r"refuses \(HTTP 500\): .") as caught:
        ConnectRest(settings).plugins()
    assert body.decode(errors="replace") in str(caught.value)


def test_another_server_than_connect_is_told_from_it(answers: Answers, settings: Settings) -> None:
    answers.append((200, b"<html>hello</html>"))
    with pytest.raises(ServiceError, match="does not answer"):
        ConnectRest(settings).plugins()


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_login_is_not_sent_on_to_where_an_answer_points(answers: Answers, settings: Settings, code: int) -> None:
    asked: list[str | None] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.headers["Authorization"])
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.2", 0), Elsewhere) as elsewhere:
        thread = threading.Thread(target=elsewhere.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        answers.append((code, f"http://127.0.0.2:{elsewhere.server_address[1]}/".encode()))
        user = settings.model_copy(update={"connect_user": "me", "connect_password": SecretStr("0815")})
        try:
            with pytest.raises(
                ServiceError, match=rf"sends us on to http://127\.0\.0\.2:\d+/ \(HTTP {code}\)"
            ) as caught:
                ConnectRest(user).plugins()
            assert "0815" not in str(caught.value)
            pytest.importorskip("fastavro")
            registry = user.model_copy(
                update={"registry_url": user.connect_url, "registry_user": "me", "registry_password": SecretStr("0815")}
            )
            with pytest.raises(ServiceError, match="cannot be asked"):
                Registry(registry).schema(1)
        finally:
            elsewhere.shutdown()
            thread.join()
    assert asked == []


def test_what_does_not_exist_is_none_where_it_may_be_so(answers: Answers, settings: Settings) -> None:
    answers.append((404, b'{"message":"not found"}'))
    assert ConnectRest(settings).config("one") is None
    with pytest.raises(ServiceError, match="HTTP 404"):
        ConnectRest(settings).statuses()
