"""Security contexts as an RPC server accepts them: NTLMv2, Kerberos in DCE style, and SPNEGO around either.

Acceptors take the client's tokens one by one (`step`) and end in a context that seals and unseals fragments
(MS-RPCE 3.3.1.5.2, MS-NLMP 3.4, RFC 4121, RFC 4178). Primitives come from impacket; nothing comes from the
collector. Failure is an `AuthError`, which the RPC server turns into what Windows would answer.
"""
import datetime
import hmac
import os
import secrets
import struct
import time

from Cryptodome.Cipher import AES, ARC4
from impacket import ntlm
from impacket.krb5 import asn1 as krb5_asn1
from impacket.krb5 import crypto as krb5_crypto
from impacket.krb5.keytab import Keytab
from pyasn1.codec.der import decoder, encoder

OID_SPNEGO = bytes.fromhex("2b0601050502")
OID_KERBEROS = bytes.fromhex("2a864886f712010202")
OID_MS_KERBEROS = bytes.fromhex("2a864882f712010202")
OID_NTLM = bytes.fromhex("2b06010401823702020a")
SPNEGO, NTLM, KERBEROS = 9, 10, 16
MAX_SKEW_S = 300


class AuthError(Exception):
    """The client is not let in; `token` is what its mechanism may be told, `principal` who it said it was."""

    def __init__(self, message, token=b"", principal=None):
        super().__init__(message)
        self.token, self.principal = token, principal


class Realm:
    """Who may come in, and with which keys; shared by all connections of a process."""

    def __init__(self, users=(), domain="CORP", dns_domain="corp.example.com", keytab=None,
                 mechanisms=("kerberos", "ntlm")):
        self.users = {user["user"].lower(): user for user in users}
        self.domain, self.dns_domain, self.mechanisms = domain, dns_domain, list(mechanisms)
        self.keys = []
        if keytab:
            for entry in Keytab.loadFile(keytab).entries:
                block = entry.main_part["keyblock"]
                etype = int(block["keytype"])
                if etype in (17, 18):
                    key = krb5_crypto.Key(etype, bytes(block["keyvalue"]["data"]))
                    self.keys.append((etype, int(entry.kvno), key))


# --- NTLM ---------------------------------------------------------------------------------------------------------


class NtlmContext:
    """Sealing with NTLM's extended session security (MS-NLMP 3.4.4.2)."""
    auth_type, token_length, mechanism = NTLM, 16, "ntlm"

    def __init__(self, flags, session_key, principal):
        self.flags, self.principal = flags, principal
        self.sign_out, self.sign_in = (ntlm.SIGNKEY(flags, session_key, mode) for mode in ("Server", "Client"))
        self.seal_out, self.seal_in = (ntlm.SEALKEY(flags, session_key, mode) for mode in ("Server", "Client"))
        self.sequence_out = self.sequence_in = 0
        self.stub_only = False
        self.reset()

    def reset(self):
        """New cipher states; the sequence numbers go on."""
        self.cipher_out, self.cipher_in = ARC4.new(self.seal_out), ARC4.new(self.seal_in)

    def _mac(self, key, sequence, message, cipher):
        digest = hmac.digest(key, struct.pack("<I", sequence) + message, "md5")[:8]
        if cipher is not None and self.flags & ntlm.NTLMSSP_NEGOTIATE_KEY_EXCH:
            digest = cipher.encrypt(digest)
        return b"\x01\0\0\0" + digest + struct.pack("<I", sequence)

    def sign(self, message):
        token = self._mac(self.sign_out, self.sequence_out, message, self.cipher_out)
        self.sequence_out += 1
        return token

    def verify(self, message, token):
        self._check(message, token)
        self.sequence_in += 1

    def _check(self, message, token, alternative=None):
        given = token[4:12]
        if self.flags & ntlm.NTLMSSP_NEGOTIATE_KEY_EXCH:
            given = self.cipher_in.decrypt(given)
        sequence = struct.unpack("<I", token[12:16])[0]
        if sequence != self.sequence_in:
            raise AuthError(f"NTLM sequence {sequence}, expected {self.sequence_in}")
        for number, candidate in enumerate((message, alternative)):
            if candidate is not None and hmac.compare_digest(
                    self._mac(self.sign_in, sequence, candidate, None)[4:12], given):
                self.stub_only = number == 1
                return
        raise AuthError("NTLM signature is wrong")

    def seal(self, header, stub, trailer, header_signing, privacy=True):
        if not header_signing and self.stub_only:
            header = trailer = b""
        sealed = self.cipher_out.encrypt(stub) if privacy else stub
        return sealed, self.sign(header + stub + trailer)

    def unseal(self, header, stub, trailer, token, header_signing, privacy=True):
        plain = self.cipher_in.decrypt(stub) if privacy else stub
        # Without agreed header signing clients differ: Windows and impacket sign the whole PDU, others the stub.
        self._check(header + plain + trailer, token, None if header_signing else plain)
        self.sequence_in += 1
        return plain


class NtlmAcceptor:
    """MS-NLMP 3.2: challenge, then the check of the NTLMv2 response."""
    auth_type, mechanism = NTLM, "ntlm"

    def __init__(self, realm, log):
        self.realm, self.log, self.challenge, self.messages = realm, log, os.urandom(8), []
        self.context = None

    @property
    def done(self):
        return self.context is not None

    def step(self, token):
        if token[:8] != b"NTLMSSP\0" or len(token) < 12:
            raise AuthError("not an NTLM token")
        if "ntlm" not in self.realm.mechanisms:
            raise AuthError("NTLM is not allowed here")
        kind = struct.unpack("<I", token[8:12])[0]
        self.messages.append(token)
        if kind == 1 and len(self.messages) == 1:
            self.messages.append(self._challenge(struct.unpack("<I", token[12:16])[0]))
            return self.messages[1]
        if kind == 3 and len(self.messages) == 3:
            self._authenticate(token)
            return b""
        raise AuthError(f"NTLM message {kind} out of turn")

    def _challenge(self, offered):
        keep = (ntlm.NTLMSSP_NEGOTIATE_56 | ntlm.NTLMSSP_NEGOTIATE_128 | ntlm.NTLMSSP_NEGOTIATE_KEY_EXCH
                | ntlm.NTLMSSP_NEGOTIATE_SIGN | ntlm.NTLMSSP_NEGOTIATE_SEAL | ntlm.NTLMSSP_NEGOTIATE_ALWAYS_SIGN
                | ntlm.NTLMSSP_NEGOTIATE_UNICODE | ntlm.NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY)
        flags = offered & keep | ntlm.NTLMSSP_NEGOTIATE_NTLM | ntlm.NTLMSSP_NEGOTIATE_TARGET_INFO \
            | ntlm.NTLMSSP_TARGET_TYPE_DOMAIN | ntlm.NTLMSSP_REQUEST_TARGET | ntlm.NTLMSSP_NEGOTIATE_VERSION
        if not flags & ntlm.NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY:
            raise AuthError("NTLM without extended session security")
        pairs = ntlm.AV_PAIRS()
        host = self.log.computer
        for key, value in ((ntlm.NTLMSSP_AV_DOMAINNAME, self.realm.domain),
                           (ntlm.NTLMSSP_AV_HOSTNAME, host.split(".")[0].upper()),
                           (ntlm.NTLMSSP_AV_DNS_DOMAINNAME, self.realm.dns_domain),
                           (ntlm.NTLMSSP_AV_DNS_HOSTNAME, host), (ntlm.NTLMSSP_AV_DNS_TREENAME, self.realm.dns_domain)):
            pairs[key] = value.encode("utf-16-le")
        pairs[ntlm.NTLMSSP_AV_TIME] = struct.pack("<Q", self.log.now())
        reply = ntlm.NTLMAuthChallenge()
        reply["flags"], reply["challenge"], reply["reserved"] = flags, self.challenge, b""
        reply["Version"] = bytes([10, 0, 0x7C, 0x4F, 0, 0, 0, 15])
        reply["domain_offset"] = 56
        reply["domain_name"] = self.realm.domain.encode("utf-16-le")
        reply["TargetInfoFields_offset"] = 56 + len(reply["domain_name"])
        reply["TargetInfoFields"] = pairs
        return reply.getData()

    def _authenticate(self, token):
        def field(at):
            length, _, offset = struct.unpack_from("<HHI", token, at)
            return token[offset:offset + length]

        response, domain, user, encrypted_key = field(20), field(28), field(36), field(52)
        flags = struct.unpack_from("<I", token, 60)[0]
        domain, user = domain.decode("utf-16-le"), user.decode("utf-16-le")
        account = self.realm.users.get(user.split("@")[0].lower())
        principal = f"{domain}\\{user}" if domain else user
        if account is None or len(response) < 44:
            raise AuthError(f"NTLM: no such user {principal}", principal=principal)
        owf = ntlm.NTOWFv2(user, account["password"], domain)
        proof, blob = response[:16], response[16:]
        if not hmac.compare_digest(hmac.digest(owf, self.challenge + blob, "md5"), proof):
            raise AuthError(f"NTLM: wrong password for {principal}", principal=principal)
        session_key = hmac.digest(owf, proof, "md5")
        if flags & ntlm.NTLMSSP_NEGOTIATE_KEY_EXCH:
            session_key = ARC4.new(session_key).decrypt(encrypted_key)
        pairs = ntlm.AV_PAIRS(blob[28:])
        marks = pairs[ntlm.NTLMSSP_AV_FLAGS]
        if marks and struct.unpack("<I", marks[1])[0] & 2:
            cleared = token[:72] + bytes(16) + token[88:]
            expected = hmac.digest(session_key, self.messages[0] + self.messages[1] + cleared, "md5")
            if not hmac.compare_digest(expected, token[72:88]):
                raise AuthError("NTLM: the message integrity code is wrong")
        self.context = NtlmContext(flags, session_key, principal)


# --- Kerberos -----------------------------------------------------------------------------------------------------


def _aes_cts(key, data, encrypting):
    """AES in CBC mode with ciphertext stealing, zero IV (RFC 3962)."""
    extra = len(data) % 16
    if encrypting:
        out = AES.new(key, AES.MODE_CBC, bytes(16)).encrypt(data + bytes(-len(data) % 16))
        last = out[-16:]
        return out[:-32] + last + out[-32:-16][:extra or 16]
    if not extra:
        return AES.new(key, AES.MODE_CBC, bytes(16)).decrypt(data[:-32] + data[-16:] + data[-32:-16])
    cut = len(data) - extra - 16
    block = data[cut:cut + 16]
    plain = AES.new(key, AES.MODE_ECB).decrypt(block)
    stolen = data[cut + 16:] + plain[extra:]
    return AES.new(key, AES.MODE_CBC, bytes(16)).decrypt(data[:cut] + stolen + block)[:len(data)]


class KerberosContext:
    """RFC 4121 per-message tokens, laid out as Windows does for DCE style (EC 16, RRC 28)."""
    auth_type, token_length, mechanism = KERBEROS, 76, "kerberos"

    def __init__(self, key, sequence_out, sequence_in, principal):
        profile = krb5_crypto._get_enctype_profile(key.enctype)
        derive = lambda usage, kind: profile.derive(key, struct.pack(">IB", usage, kind)).contents
        self.encrypt_out, self.mac_out, self.mic_out = derive(22, 0xAA), derive(22, 0x55), derive(23, 0x99)
        self.encrypt_in, self.mac_in, self.mic_in = derive(24, 0xAA), derive(24, 0x55), derive(25, 0x99)
        self.sequence_out, self.sequence_in, self.principal = sequence_out, sequence_in, principal

    def reset(self):
        """Kerberos keeps no cipher state."""

    def sign(self, message):
        header = b"\x04\x04\x05\xff\xff\xff\xff\xff" + struct.pack(">Q", self.sequence_out)
        self.sequence_out += 1
        return header + hmac.digest(self.mic_out, message + header, "sha1")[:12]

    def verify(self, message, token):
        if token[:2] != b"\x04\x04":
            raise AuthError("not a Kerberos MIC token")
        if not hmac.compare_digest(hmac.digest(self.mic_in, message + token[:16], "sha1")[:12], token[16:28]):
            raise AuthError("Kerberos MIC is wrong")
        self._sequence(token)

    def _sequence(self, token):
        sequence = struct.unpack(">Q", token[8:16])[0]
        if sequence != self.sequence_in:
            raise AuthError(f"Kerberos sequence {sequence}, expected {self.sequence_in}")
        self.sequence_in += 1

    def seal(self, header, stub, trailer, header_signing, privacy=True):
        if not privacy:
            return stub, self.sign(header + stub + trailer if header_signing else stub)
        if not header_signing:
            header = trailer = b""
        counter = struct.pack(">Q", self.sequence_out)
        self.sequence_out += 1
        inner = b"\x05\x04\x07\xff\x00\x10\x00\x00" + counter
        confounder = secrets.token_bytes(16)
        rest = bytes(16) + inner
        sealed = _aes_cts(self.encrypt_out, confounder + stub + rest, True)
        sealed += hmac.digest(self.mac_out, b"".join((confounder, header, stub, trailer, rest)), "sha1")[:12]
        token = b"\x05\x04\x07\xff\x00\x10\x00\x1c" + counter + sealed[-44:] + sealed[:16]
        return sealed[16:-44], token

    def unseal(self, header, stub, trailer, token, header_signing, privacy=True):
        if not privacy:
            self.verify(header + stub + trailer if header_signing else stub, token)
            return stub
        if not header_signing:
            header = trailer = b""
        if token[:2] != b"\x05\x04" or token[2] & 3 != 2 or len(token) < 60:
            raise AuthError("not a sealed Kerberos token")
        extra, rotation = struct.unpack(">HH", token[4:8])
        rotated = token[16:] + stub
        turn = (extra + rotation) % len(rotated)
        sealed = rotated[turn:] + rotated[:turn]
        plain = _aes_cts(self.encrypt_in, sealed[:-12], False)
        confounder, body, rest = plain[:16], plain[16:-16 - extra], plain[-16 - extra:]
        expected = hmac.digest(self.mac_in, b"".join((confounder, header, body, trailer, rest)), "sha1")[:12]
        if not hmac.compare_digest(expected, sealed[-12:]):
            raise AuthError("Kerberos integrity check failed")
        if rest[-16:] != token[:6] + b"\0\0" + token[8:16]:
            raise AuthError("Kerberos token header differs from its sealed copy")
        self._sequence(token)
        return body


class KerberosAcceptor:
    """AP-REQ, AP-REP and, in DCE style, the client's AP-REP (RFC 4120 3.2, MS-KILE 3.4.5)."""
    auth_type, mechanism = KERBEROS, "kerberos"

    def __init__(self, realm, log):
        self.realm, self.log, self.context, self.pending = realm, log, None, None

    @property
    def done(self):
        return self.context is not None

    def step(self, token):
        if "kerberos" not in self.realm.mechanisms or not self.realm.keys:
            raise AuthError("Kerberos is not allowed here")
        try:
            if self.pending is None:
                return self._request(_unframe(token))
            self._reply(_unframe(token))
            return b""
        except AuthError:
            raise
        except Exception as error:
            raise AuthError(f"Kerberos: {type(error).__name__}: {error}") from error

    def _decrypt(self, part, usage):
        etype = int(part["etype"])
        problem = None
        for key_etype, kvno, key in sorted(self.realm.keys, key=lambda entry: -entry[1]):
            if key_etype == etype:
                try:
                    return krb5_crypto._enctype_table[etype].decrypt(key, usage, part["cipher"].asOctets())
                except Exception as error:
                    problem = error
        raise AuthError(f"Kerberos: no key for the ticket (etype {etype}): {problem}", self._error(41))

    def _request(self, token):
        request = decoder.decode(token, asn1Spec=krb5_asn1.AP_REQ())[0]
        ticket = decoder.decode(self._decrypt(request["ticket"]["enc-part"], 2), asn1Spec=krb5_asn1.EncTicketPart())[0]
        etype = int(ticket["key"]["keytype"])
        session_key = krb5_crypto.Key(etype, ticket["key"]["keyvalue"].asOctets())
        cipher = krb5_crypto._enctype_table[etype]
        plain = cipher.decrypt(session_key, 11, request["authenticator"]["cipher"].asOctets())
        authenticator = decoder.decode(plain, asn1Spec=krb5_asn1.Authenticator())[0]
        principal = "/".join(str(part) for part in ticket["cname"]["name-string"]) + "@" + str(ticket["crealm"])
        stamp = datetime.datetime.strptime(str(authenticator["ctime"]), "%Y%m%d%H%M%SZ")
        sent = stamp.replace(tzinfo=datetime.timezone.utc).timestamp()
        here = time.time() + self.log.clock_offset_ms / 1000
        if abs(sent - here) > MAX_SKEW_S:
            raise AuthError(f"Kerberos: clock skew of {sent - here:.0f} s for {principal}", self._error(37))
        checksum = authenticator["cksum"]["checksum"].asOctets()
        flags = struct.unpack_from("<I", checksum, 20)[0] if len(checksum) >= 24 else 0
        ours = secrets.randbelow(1 << 30)
        subkey = krb5_crypto.Key(etype, secrets.token_bytes(32 if etype == 18 else 16))
        theirs = int(authenticator["seq-number"]) if authenticator["seq-number"].hasValue() else 0
        self.pending = (cipher, session_key, subkey, ours, theirs & 0xFFFFFFFF, principal)
        part = krb5_asn1.EncAPRepPart()
        part["ctime"], part["cusec"], part["seq-number"] = str(authenticator["ctime"]), int(authenticator["cusec"]), ours
        part["subkey"]["keytype"], part["subkey"]["keyvalue"] = etype, subkey.contents
        reply = krb5_asn1.AP_REP()
        reply["pvno"], reply["msg-type"] = 5, 15
        reply["enc-part"]["etype"] = etype
        reply["enc-part"]["cipher"] = cipher.encrypt(session_key, 12, encoder.encode(part), None)
        if not flags & 0x1000:
            self._finish()
        return encoder.encode(reply)

    def _reply(self, token):
        cipher, session_key, _, ours, _, _ = self.pending
        reply = decoder.decode(token, asn1Spec=krb5_asn1.AP_REP())[0]
        plain = cipher.decrypt(session_key, 12, reply["enc-part"]["cipher"].asOctets())
        part = decoder.decode(plain, asn1Spec=krb5_asn1.EncAPRepPart())[0]
        if int(part["seq-number"]) != ours:
            raise AuthError(f"Kerberos: third leg has sequence {int(part['seq-number'])}, expected {ours}")
        self._finish()

    def _finish(self):
        _, _, subkey, ours, theirs, principal = self.pending
        self.context = KerberosContext(subkey, ours, theirs, principal)

    def _error(self, code):
        """A KRB-ERROR with this server's time, framed as RFC 4121 4.1 and Windows have it, in DCE style too."""
        now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(milliseconds=self.log.clock_offset_ms)
        error = krb5_asn1.KRB_ERROR()
        error["pvno"], error["msg-type"], error["error-code"] = 5, 30, code
        error["stime"], error["susec"] = now.strftime("%Y%m%d%H%M%SZ"), now.microsecond
        error["realm"] = self.realm.dns_domain.upper()
        error["sname"]["name-type"] = 2
        error["sname"]["name-string"][0] = "host"
        error["sname"]["name-string"][1] = self.log.computer
        return der(0x60, der(0x06, OID_KERBEROS), b"\x03\x00", encoder.encode(error))


# --- SPNEGO -------------------------------------------------------------------------------------------------------


def der(tag, *content):
    """One DER element."""
    body = b"".join(content)
    size = len(body)
    length = bytes([size]) if size < 128 else (lambda raw: bytes([0x80 | len(raw)]) + raw)(
        size.to_bytes((size.bit_length() + 7) // 8, "big"))
    return bytes([tag]) + length + body


def read_der(data):
    """(tag, content, rest) of the first DER element."""
    if len(data) < 2:
        raise AuthError("truncated DER")
    size, at = data[1], 2
    if size & 0x80:
        count = size & 0x7F
        size, at = int.from_bytes(data[2:2 + count], "big"), 2 + count
    if at + size > len(data):
        raise AuthError("truncated DER")
    return data[0], data[at:at + size], data[at + size:]


def _unframe(token):
    """Takes the GSS-API framing (RFC 2743 3.1) off, if there is any."""
    if token[:1] != b"\x60":
        return token
    _, content, _ = read_der(token)
    tag, _, rest = read_der(content)
    return rest[2:] if tag == 6 else rest


class SpnegoAcceptor:
    """RFC 4178 with Windows' habits: the MIC is answered when the client sent one, or had to."""
    auth_type = SPNEGO

    def __init__(self, realm, log):
        self.realm, self.log, self.inner, self.finished = realm, log, None, False
        self.mech_list, self.need_mic, self.first = b"", False, True

    @property
    def mechanism(self):
        return self.inner.mechanism if self.inner else "none"

    @property
    def done(self):
        return self.finished

    @property
    def context(self):
        return self.inner.context if self.finished else None

    def step(self, token):
        if token[:8] == b"NTLMSSP\0":
            # A client may put bare NTLM into the Negotiate package.
            self.inner = self.inner or NtlmAcceptor(self.realm, self.log)
            reply = self.inner.step(token)
            self.finished = self.inner.done
            return reply
        return self._initial(token) if self.first else self._following(token)

    def _fields(self, content):
        tag, sequence, _ = read_der(content)
        if tag != 0x30:
            raise AuthError("SPNEGO: no sequence")
        fields = {}
        while sequence:
            tag, value, sequence = read_der(sequence)
            fields[tag] = value
        return fields

    def _initial(self, token):
        self.first = False
        tag, content, _ = read_der(token)
        _, oid, rest = read_der(content)
        if tag != 0x60 or oid != OID_SPNEGO or rest[:1] != b"\xa0":
            raise AuthError("not an initial SPNEGO token")
        fields = self._fields(read_der(rest)[1])
        self.mech_list = fields.get(0xA0, b"")
        offered, rest = [], read_der(self.mech_list)[1]
        while rest:
            _, oid, rest = read_der(rest)
            offered.append(oid)
        kinds = {OID_KERBEROS: "kerberos", OID_MS_KERBEROS: "kerberos", OID_NTLM: "ntlm"}
        chosen = next((oid for oid in offered if kinds.get(oid) in self.realm.mechanisms
                       and (kinds[oid] == "ntlm" or self.realm.keys)), None)
        if chosen is None:
            raise AuthError("SPNEGO: no common mechanism", self._response(2))
        self.inner = (NtlmAcceptor if kinds[chosen] == "ntlm" else KerberosAcceptor)(self.realm, self.log)
        # The client's first token belongs to its first mechanism.
        self.need_mic = kinds.get(offered[0]) != kinds[chosen]
        reply = b""
        if not self.need_mic and 0xA2 in fields:
            reply = self._inner_step(read_der(fields[0xA2])[1])
        return self._conclude(fields, reply, chosen)

    def _following(self, token):
        tag, content, _ = read_der(token)
        if tag != 0xA1:
            raise AuthError("not a SPNEGO response token")
        fields = self._fields(content)
        reply = b""
        if 0xA2 in fields and not self.inner.done:
            reply = self._inner_step(read_der(fields[0xA2])[1])
        return self._conclude(fields, reply, None)

    def _inner_step(self, token):
        try:
            return self.inner.step(token)
        except AuthError as error:
            error.token = self._response(2, None, error.token)
            raise

    def _conclude(self, fields, reply, chosen):
        if not self.inner.done:
            return self._response(1, chosen, reply)
        mic = None
        context = self.inner.context
        if 0xA3 in fields:
            context.verify(self.mech_list, read_der(fields[0xA3])[1])
            mic = context.sign(self.mech_list)
            context.reset()
        elif self.need_mic:
            raise AuthError("SPNEGO: the mechanism list is not protected", self._response(2))
        self.finished = True
        return self._response(0, chosen, reply, mic)

    @staticmethod
    def _response(state, mechanism=None, token=b"", mic=None):
        parts = [der(0xA0, der(0x0A, bytes([state])))]
        if mechanism:
            parts.append(der(0xA1, der(0x06, mechanism)))
        if token:
            parts.append(der(0xA2, der(0x04, token)))
        if mic:
            parts.append(der(0xA3, der(0x04, mic)))
        return der(0xA1, der(0x30, *parts))


ACCEPTORS = {SPNEGO: SpnegoAcceptor, NTLM: NtlmAcceptor, KERBEROS: KerberosAcceptor}
