"""Reads event records with impacket's own client and says how many a second: the measure that jims is compared with.

Usage: impacket_client.py HOST PORT USER DOMAIN PASSWORD RECORDS SECONDS

RegisterLogQuery, then QueryNext until RECORDS have come or SECONDS have passed, sealed by NTLM; each record is cut
out of its batch. impacket cannot read BinXML, so nothing is decoded. Its helper hEvtRpcQueryNext asks twice and throws
one answer away; here the calls are made without it, which is to impacket's advantage. Signing on is not counted.
"""
import resource
import sys
import time

from impacket.dcerpc.v5 import even6, rpcrt, transport


def main():
    host, port, user, domain, password = sys.argv[1:6]
    wanted, seconds = int(sys.argv[6]), float(sys.argv[7])
    rpc = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:{host}[{port}]")
    rpc.set_credentials(user, password, domain)
    dce = rpc.get_dce_rpc()
    dce.set_auth_level(rpcrt.RPC_C_AUTHN_LEVEL_PKT_PRIVACY)
    dce.connect()
    dce.bind(even6.MSRPC_UUID_EVEN6)
    flags = even6.EvtQueryChannelName | even6.EvtReadOldestToNewest
    query = even6.hEvtRpcRegisterLogQuery(dce, "Security\0", flags, "*\0")["Handle"]
    request = even6.EvtRpcQueryNext()
    request["LogQuery"] = query
    request["NumRequestedRecords"] = 1024
    request["TimeOutEnd"] = 1000
    request["Flags"] = 0
    records = size = 0
    begun, before = time.monotonic(), time.process_time()
    while records < wanted and time.monotonic() - begun < seconds:
        answer = dce.request(request)
        buffer = b"".join(answer["ResultBuffer"])
        for start, length in zip(answer["EventDataIndices"], answer["EventDataSizes"]):
            size += len(buffer[start["Data"]:start["Data"] + length["Data"]])
            records += 1
    took, used = time.monotonic() - begun, time.process_time() - before
    print(records, size, took, used, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


main()
