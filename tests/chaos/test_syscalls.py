"""What strace's log says: read from a log of strace 6.1's form."""

from __future__ import annotations

from random import Random

from tests.chaos.kills import Syscall, spread
from tests.chaos.syscalls import Call, front, reached

LOG = """\
101   write(2</tmp/dispatcher-0.log>, ""..., 180) = 180
102   sendmsg(21<TCP:[127.0.0.1:40112->127.0.0.1:19092]>, {msg_name=NULL}, MSG_DONTWAIT) = 56
103   sendmsg(22<TCP:[127.0.0.1:40114->127.0.0.1:19092]>, {msg_name=NULL}, MSG_DONTWAIT <unfinished ...>
101   read(30<TCP:[127.0.0.1:51234->127.0.0.1:8090]>,  <unfinished ...>
103   <... sendmsg resumed>)              = 61
101   <... read resumed>""..., 65536)     = 320
102   sendmsg(21<TCP:[127.0.0.1:40112->127.0.0.1:19092]>, {msg_name=NULL}, MSG_DONTWAIT) = 70
101   recvmsg(24<UNIX-STREAM:[100->101]>, {msg_name=NULL}, 0) = -1 EAGAIN (Resource temporarily unavailable)
103   sendmsg(22<TCP:[127.0.0.1:40114->127.0.0.1:19092]>, {msg_name=NULL}, MSG_DONTWAIT) = 44
103   sendmsg(23<TCPv6:[[::1]:40116->[::1]:19092]>, {msg_name=NULL}, MSG_DONTWAIT) = ?
102   +++ killed by SIGKILL +++
103   +++ killed by SIGKILL +++
""".splitlines()


def test_the_front_is_each_call_that_no_thread_had_made_so_often() -> None:
    assert list(front(LOG)) == [
        Call("write", 1, None),
        Call("sendmsg", 1, 19092),
        Call("read", 1, 8090),
        Call("sendmsg", 2, 19092),
        Call("recvmsg", 1, None),
        Call("sendmsg", 3, 19092),
    ]


def test_the_call_at_which_the_process_died_is_found_or_was_not_reached() -> None:
    assert reached(LOG, "sendmsg", 3) == Call("sendmsg", 3, 19092)
    assert reached(LOG, "sendmsg", 4) is None
    assert reached(LOG, "writev", 1) is None


def test_a_choice_of_points_takes_from_every_call_and_peer() -> None:
    points = [Syscall("sendmsg", n, "broker") for n in range(1, 100)]
    points += [Syscall("read", n, peer) for peer in ("broker", "graph") for n in range(1, 4)]
    some = spread(points, 12, Random(5))
    assert len(some) == 12 and len(set(some)) == 12
    assert sum(each.call == "read" for each in some if isinstance(each, Syscall)) == 6
    assert some == spread(points, 12, Random(5)) != spread(points, 12, Random(6))
    assert len(spread(points, 1000, Random(5))) == len(points)
