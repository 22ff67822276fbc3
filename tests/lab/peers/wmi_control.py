"""The test's hand on the WMI hosts: JSON lines over a loopback TCP socket, one reply for each command.

Every command takes `"address"`: one address, a list of them, or nothing for all hosts.
"""
import time

from control import Control as Lines
from wmi_faults import ACTS, STEPS
from wmi_host import check_state


class Control:
    """`hosts` maps address to (host, endpoints); `holes` maps address to the black hole there."""
    # The lines are read and answered as by the event log peer.
    listen, serve, run = Lines.listen, Lines.serve, Lines.run

    def __init__(self, hosts, holes):
        self.hosts, self.holes = hosts, holes

    def chosen(self, command):
        wanted = command.get("address")
        addresses = list(self.hosts) if wanted is None else [wanted] if isinstance(wanted, str) else wanted
        return [self.hosts[address] for address in addresses]

    @staticmethod
    def step(command, *more):
        step = command.get("step")
        if step not in STEPS and step not in more:
            raise ValueError(f"steps are {STEPS + more}")
        return step

    def do_set(self, command):
        """Changes the keys of `state` that are named."""
        state = check_state(command["state"])
        for host, _ in self.chosen(command):
            host.state.update(state)

    def do_refuse(self, command):
        """The step ends with `status`: in the reply, as a fault, or as bind_nak; `times` times, or until it is null."""
        step, how = self.step(command), command.get("how", "result")
        if how not in ("result", "fault", "nak") or (how == "nak") != (step == "bind") and how == "nak":
            raise ValueError("how is result or fault; at bind result or nak")
        status = command.get("status", 5 if step == "bind" else None)
        for host, _ in self.chosen(command):
            if status is None:
                host.faults.refusals.pop(step, None)
            else:
                host.faults.refusals[step] = {"status": int(status), "how": how, "times": command.get("times")}

    def do_mute(self, command):
        """While `on`: connections that come to the step are not answered any more; `all`: not at all."""
        step = self.step(command | {"step": command.get("step", "all")}, "all")
        for host, _ in self.chosen(command):
            (host.faults.mute_steps.add if command.get("on", True) else host.faults.mute_steps.discard)(step)

    def do_delay(self, command):
        """Answers at the step (null: every) are `ms` late."""
        step = self.step(command, None)
        for host, _ in self.chosen(command):
            host.faults.delays[step] = command["ms"]

    def do_drop(self, command):
        """The connection is closed instead of the answer at the step; without one all connections are closed now."""
        closed = 0
        for host, endpoints in self.chosen(command):
            if command.get("step") is not None:
                host.faults.drops.append({"step": self.step(command), "times": command.get("times", 1),
                                          "reset": command.get("reset", False)})
                continue
            for endpoint in endpoints.values():
                for association in list(endpoint.associations):
                    (association.transport.abort if command.get("reset") else association.transport.close)()
                    closed += 1
        return {"closed": closed}

    def do_down(self, command):
        """Closes the ports (`where`: all, scm, dcom) and their connections: new ones are refused until `up`."""
        where = command.get("where", "all")
        if where not in ("all", "scm", "dcom"):
            raise ValueError("where is all, scm or dcom")
        for _, endpoints in self.chosen(command):
            for name, endpoint in endpoints.items():
                if where in ("all", name):
                    endpoint.shut()

    async def do_up(self, command):
        """Opens the ports again."""
        for host, endpoints in self.chosen(command):
            for endpoint in endpoints.values():
                if not endpoint.server.is_serving():
                    await endpoint.listen(host.address, endpoint.port)

    def do_hostile(self, command):
        """The next `times` replies at the step (null: any) are broken in the way `what` says; endless ones until `calm`."""
        what = command["what"]
        if what not in ACTS:
            raise ValueError(f"hostile acts are {ACTS}")
        times = command.get("times", None if what.startswith("endless") else 1)
        for host, _ in self.chosen(command):
            host.faults.hostile.append({"what": what, "step": self.step(command, None), "times": times})

    def do_acts(self, _command):
        return {"acts": ACTS, "steps": STEPS}

    def do_mechanisms(self, command):
        """Which mechanisms are accepted from now on: ["kerberos", "ntlm"]."""
        for _, endpoints in self.chosen(command):
            for endpoint in endpoints.values():
                endpoint.realm.mechanisms = list(command["list"])

    def do_option(self, command):
        """Changes options of new connections: header_signing, fault_protection, require_privacy, max_fragment."""
        for _, endpoints in self.chosen(command):
            for endpoint in endpoints.values():
                if unknown := set(command["set"]) - set(endpoint.options):
                    raise ValueError(f"unknown {sorted(unknown)}; options are {sorted(endpoint.options)}")
                endpoint.options.update(command["set"])

    def do_calm(self, command):
        """Ends every fault; the state stays."""
        for host, _ in self.chosen(command):
            host.faults.calm()

    def do_reset(self, command):
        """No faults, the state of the start, no live objects, all numbers 0."""
        for host, _ in self.chosen(command):
            host.faults.calm()
            host.reset()
            host.stats.clear()
            host.faults.done = {}
        if command.get("address") is None:
            for hole in self.holes.values():
                hole.connections = 0

    def do_clear_stats(self, command):
        for host, _ in self.chosen(command):
            host.stats.clear()

    def do_stats(self, command):
        """Numbers of each host, their sums, the connections of the black holes."""
        result, total = {}, {}

        def add(into, numbers):
            for key, value in numbers.items():
                if isinstance(value, dict):
                    add(into.setdefault(key, {}), value)
                elif isinstance(value, int) and key != "level":
                    into[key] = into.get(key, 0) + value
        for host, _ in self.chosen(command):
            report = host.stats.report() | {"objects": len(host.objects), "hostile": host.faults.done}
            result[host.address] = report | {"computer": host.computer}
            add(total, report)
        holes = {address: hole.connections for address, hole in self.holes.items()}
        return {"stats": result, "total": total, "black_holes": holes, "cpu_seconds": round(time.process_time(), 3)}
