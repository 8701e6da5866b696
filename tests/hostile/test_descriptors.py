"""Few descriptors: clients that keep connections open can't take those of the probes."""
from attack import Attack
from besieged import address_of, assert_alive, besieged, hold_failover
from bystander import Bystander
from limits import descriptor_limit, descriptors
from test_streams import hold

HARD = 256
LISTENERS = ("dns", "tls", "https", "http")


def test_idle_clients_leave_descriptors_for_the_probes(dir, figure):
    """A hard limit of 256, and 300 silent clients on each listener over TCP."""
    with besieged(dir, before_exec=descriptor_limit(HARD)) as (node, herd):
        attacks = [Attack(dir, "silent", address_of(node, listener), count=300) for listener in LISTENERS]
        with attacks[0], attacks[1], attacks[2], attacks[3], Bystander(dir, node) as bystander:
            for nth in range(3):
                hold_failover(figure, node, herd, dir, nth)
            seen = bystander.finish()
            figure("descriptors", descriptors(node.child.pid), "", bound=HARD)
            assert "cannot probe" not in node.child.err(), node.child.output()
        assert_alive(node)
        hold(seen, figure)
