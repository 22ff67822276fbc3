"""Asks Windows computers over WMI who is signed on, with impacket's own client: the measure that jims is compared with.

Usage: impacket_wmi.py FIRST COUNT PROCESSES USER DOMAIN PASSWORD

So many addresses from FIRST are shared out to so many processes, each of which asks one computer after the other what jims
asks: NTLM, packet privacy, activation, login, three queries. Prints computers, seconds, and seconds of processor time of
all processes; starting them is not counted.
"""
import ipaddress
import multiprocessing
import os
import sys
import time

from impacket.dcerpc.v5 import dcomrt
from impacket.dcerpc.v5.dcom import wmi
from impacket.dcerpc.v5.dtypes import NULL
from impacket.dcerpc.v5.rpcrt import DCERPCException

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/lab/peers"))
# To impacket's advantage.
import no_delay  # noqa: E402, F401

QUERIES = [
    "SELECT Name, DNSHostName, Domain, UserName FROM Win32_ComputerSystem",
    "SELECT LogonId, LogonType FROM Win32_LogonSession WHERE LogonType = 2 OR LogonType = 10 OR LogonType = 11 OR LogonType = 12",
    "SELECT Antecedent, Dependent FROM Win32_LoggedOnUser",
]
END = (1, 0x40004)
# WBEM_FLAG_RETURN_IMMEDIATELY and WBEM_FLAG_FORWARD_ONLY; as many objects as there are.
FLAGS, OBJECTS = 0x30, 1000


def objects(services, query):
    """The objects of one query: a last batch is an error to impacket, with the objects in it."""
    enumerator = services.ExecQuery(query, FLAGS)
    try:
        return len(enumerator.Next(0xFFFFFFFF, OBJECTS))
    except DCERPCException as error:
        if error.get_error_code() not in END:
            raise
        return error.get_packet()["puReturned"]


def ask(address, user, domain, password):
    dcom = dcomrt.DCOMConnection(address, user, password, domain, authLevel=6)
    try:
        activated = dcom.CoCreateInstanceEx(wmi.CLSID_WbemLevel1Login, wmi.IID_IWbemLevel1Login)
        services = wmi.IWbemLevel1Login(activated).NTLMLogin("//./root/cimv2", NULL, NULL)
        for query in QUERIES:
            if objects(services, query) < 1:
                raise ValueError(f"{address}: nothing for {query}")
    finally:
        for thread in dcomrt.INTERFACE.CONNECTIONS.pop(address, {}).values():
            for entry in thread.values():
                entry["dce"].disconnect()
        dcom.disconnect()


def share(addresses, account, begin, used):
    begin.wait()
    before = time.process_time()
    for address in addresses:
        ask(address, *account)
    used.put(time.process_time() - before)


def main():
    first, count, processes, *account = sys.argv[1:7]
    count, processes = int(count), int(processes)
    # The last byte goes from 1 to 250, as computers in networks.
    start = int(ipaddress.ip_address(first))
    addresses = [str(ipaddress.ip_address(start + number // 250 * 256 + number % 250)) for number in range(count)]
    used = multiprocessing.Queue()
    begin = multiprocessing.Barrier(processes + 1)
    children = [multiprocessing.Process(target=share, args=(addresses[place::processes], account, begin, used))
                for place in range(processes)]
    for child in children:
        child.start()
    begin.wait()
    begun = time.monotonic()
    for child in children:
        child.join()
    took = time.monotonic() - begun
    if any(child.exitcode for child in children):
        sys.exit("a process failed")
    print(count, took, sum(used.get() for _ in children))


# DCOM's own timers would keep the process.
main()
sys.stdout.flush()
os._exit(0)
