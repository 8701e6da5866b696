"""Clients in the regions of a world: they ask steadily, and record what they get."""
import contextlib
import time

from parts import CLIENT, REGIONS, SERVER
from processes import wait_until
from portolan import answers, ask
from steady import Steady, stall

PER_SECOND = 50


def region(name):
    return next(region for region in REGIONS if region.name == name)


def client(fleet, at, name, server=None, per_second=PER_SECOND, subnet=None):
    """A client in the region `at` that asks the server of `server`, by default that of its own region."""
    to = (region(server or at).host(SERVER), 53)
    tag = f"client-{at}-{server or at}-{name}-{time.monotonic_ns()}"
    return Steady(
        fleet.dir, to, f"{name}.svc.example.", per_second=per_second, source=region(at).host(CLIENT), subnet=subnet,
        place=fleet.world[at], tag=tag,
    )


@contextlib.contextmanager
def clients(fleet, *which):
    """Several at a time: clients(fleet, ("us-east", "all"), ("us-east", "all", "ap-south")). A list in the same order."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(client(fleet, *how)) for how in which]


def ask_at(fleet, at, name, rdtype="A", server=None, timeout=5):
    """The contents of the records that a client of a region gets once."""
    to = (region(server or at).host(SERVER), 53)
    reply = ask(to, f"{name}.svc.example.", rdtype, source=region(at).host(CLIENT), place=fleet.world[at], timeout=timeout)
    return answers(reply)


def wait_answers(fleet, at, name, wanted, bound, server=None):
    """Waits until a client's answer is one of these addresses."""
    return wait_until(lambda: set(ask_at(fleet, at, name, server=server)) <= set(wanted), bound, 0.05)


def last_with(replies, addresses, since):
    """Seconds from `since` to the last reply that has one of these addresses; 0 if none has."""
    return max((r.got - since for r in replies if r.got and r.got > since and set(r.answers) & set(addresses)), default=0.0)


def others_than(replies, addresses, since=0.0):
    """The replies with anything else than these addresses, or without an answer."""
    late = [r for r in replies if r.due >= since]
    return [r for r in late if r.got is None or not r.answers or not set(r.answers) <= set(addresses)]


def within(bound, replies, since, took):
    """Whether this is in time, on a machine that held all processes up for as long as these replies show."""
    return took <= bound + 2 * stall(replies, since, since + took)
