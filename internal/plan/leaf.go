package plan

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"strings"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// minimumRSA is the shortest RSA key of our own: OpenSSL takes it at security
// level 2 (SSL_CTX_set_security_level(3)), in bits.
const minimumRSA = 2048

// need is one state of host.key and host.cert that asks for another
// certificate. The table is read from the top; the first row that applies
// gives the reason, every row that applies is reported.
type need struct {
	reason   Reason
	severity Severity
	key      bool // the key must be another one too
	// broken says that sendmail cannot use the set as it is; a working set is
	// replaced only by a clock that can be believed.
	broken  bool
	path    func(*assessment) string
	applies func(*assessment) bool
	text    func(*assessment) string
}

func certPath(a *assessment) string { return a.obs.Certs.Cert.Node.Path }
func keyPath(a *assessment) string  { return a.obs.Certs.Key.Node.Path }

// needs is every case in which a certificate is issued or taken from newcerts.
var needs = []need{
	{reason: KeyMissing, severity: Error, key: true, broken: true, path: keyPath,
		applies: func(a *assessment) bool { return !a.obs.Certs.Key.Node.Exists && a.obs.Certs.Key.Node.Err == nil },
		text:    func(a *assessment) string { return missing(a.obs.Certs.Key.Node) }},
	{reason: KeyUnusable, severity: Error, key: true, broken: true, path: keyPath,
		applies: func(a *assessment) bool { return a.keyUnusable() },
		text:    func(a *assessment) string { return a.obs.Certs.Key.Key.Err.Error() }},
	{reason: KeyWeak, severity: Error, key: true, broken: true, path: keyPath,
		applies: func(a *assessment) bool { return a.keyTooWeak() },
		text: func(a *assessment) string {
			return "the key is " + string(a.obs.Certs.Key.Key.Type) + ": too weak for OpenSSL, which takes RSA keys from 2048 bits at its security level 2"
		}},
	{reason: CertWeak, severity: Error, broken: true, path: certPath,
		applies: func(a *assessment) bool { return a.refusal() == pki.WeakDigest },
		text: func(a *assessment) string {
			return "is signed with " + a.leaf.SignatureAlgorithm.String() + ": sendmail's OpenSSL does not load it (" + pki.WeakDigest + ")"
		}},
	{reason: CertMissing, severity: Error, broken: true, path: certPath,
		applies: func(a *assessment) bool { return !a.obs.Certs.Cert.Node.Exists && a.obs.Certs.Cert.Node.Err == nil },
		text:    func(a *assessment) string { return missing(a.obs.Certs.Cert.Node) }},
	{reason: CertUnusable, severity: Error, broken: true, path: certPath,
		applies: func(a *assessment) bool { return a.certUnusable() },
		text:    func(a *assessment) string { return a.obs.Certs.Cert.File.Err.Error() }},
	{reason: Mismatch, severity: Error, broken: true, path: certPath,
		applies: func(a *assessment) bool { return a.leaf != nil && a.key != nil && !a.matches },
		text:    func(*assessment) string { return "the certificate is not for the key in host.key" }},
	{reason: StanzaSet, severity: Warning, path: certPath,
		applies: func(a *assessment) bool { return a.owner == Stanza },
		text: func(*assessment) string {
			return "made by the base system's rc.d/sendmail: a throw-away CA, no SAN, never renewed"
		}},
	{reason: InterimSet, severity: Error, path: certPath,
		applies: func(a *assessment) bool { return a.owner == Interim },
		text:    func(*assessment) string { return "a self-signed stop-gap: peers log verify=FAIL" }},
	{reason: Expired, severity: Error, path: certPath,
		applies: func(a *assessment) bool { return a.owner.mine() && a.now.After(a.leaf.NotAfter) },
		text:    func(a *assessment) string { return "expired on " + day(a.leaf.NotAfter) }},
	{reason: LeafRevoked, severity: Error, key: true, path: certPath,
		applies: func(a *assessment) bool { return a.revoked != nil && a.revoked.keyLost },
		text:    func(a *assessment) string { return a.revoked.String() + ": the key must be another one too" }},
	{reason: LeafRevoked, severity: Error, path: certPath,
		applies: func(a *assessment) bool { return a.revoked != nil && !a.revoked.keyLost },
		text:    func(a *assessment) string { return a.revoked.String() }},
	{reason: NotYetValid, severity: Error, path: certPath,
		applies: func(a *assessment) bool { return a.owner.mine() && a.tooEarly(a.leaf) },
		text:    func(a *assessment) string { return "not valid before " + day(a.leaf.NotBefore) }},
	{reason: IssuerGone, severity: Error, path: certPath,
		applies: func(a *assessment) bool {
			return a.owner == Ours && (a.hasCA || a.remote() && len(a.obs.Accepted) > 0) && !a.issuedHere(a.leaf)
		},
		text: func(*assessment) string { return "the CA that issued it is gone; there is another one" }},
	{reason: WrongName, severity: Error, path: certPath,
		applies: func(a *assessment) bool {
			return a.owner.mine() && a.name != "" && !a.covers(a.leaf) && a.nameSettled()
		},
		text: func(a *assessment) string {
			return "is for " + strings.Join(CertNames(a.leaf), ", ") + ", wanted is " + strings.Join(a.names, ", ")
		}},
	{reason: WrongPurpose, severity: Error, path: certPath,
		applies: func(a *assessment) bool { return a.owner == Ours && !bothPurposes(a.leaf) },
		text: func(*assessment) string {
			return "lacks serverAuth or clientAuth: sendmail is server and client with one certificate"
		}},
	{reason: KeyRotation, severity: Notice, key: true, path: keyPath,
		applies: func(a *assessment) bool { return a.rotates() },
		text: func(a *assessment) string {
			return "the key is older than " + span(a.cfg.Key.RotateAfter)
		}},
	{reason: Due, severity: Notice, path: certPath,
		applies: func(a *assessment) bool { return a.owner.mine() && a.isDue(a.leaf) && a.gains(a.leaf) },
		text:    func(a *assessment) string { return "ends on " + day(a.leaf.NotAfter) + ": time to renew" }},
	{reason: AskedForce, severity: Notice, path: certPath,
		applies: func(a *assessment) bool { return a.wishOpen() && a.wish.Force && a.owner == Foreign },
		text:    func(*assessment) string { return "renewal over a foreign certificate was asked for" }},
	{reason: AskedKey, severity: Notice, key: true, path: keyPath,
		applies: func(a *assessment) bool { return a.wish.Rekey && a.rekeyOpen() },
		text:    func(*assessment) string { return "a new key was asked for" }},
	{reason: Asked, severity: Notice, path: certPath,
		applies: func(a *assessment) bool { return a.wish.Renew && a.wishOpen() },
		text:    func(*assessment) string { return "renewal was asked for" }},
}

func missing(n durable.Node) string {
	if n.Kind == durable.Link {
		return "is a dangling link to " + n.Target
	}
	return "is missing"
}

// keyUnusable: there is a host.key, and nothing can be made of it. What is
// merely of an unknown form is not called unusable.
func (a *assessment) keyUnusable() bool {
	e := a.obs.Certs.Key
	return e.Node.IsRegular && e.Node.Err == nil && e.Key.Err != nil && !errors.Is(e.Key.Err, pki.ErrUnsupported)
}

func (a *assessment) certUnusable() bool {
	e := a.obs.Certs.Cert
	return e.Node.IsRegular && e.Node.Err == nil && e.File.Err != nil && !errors.Is(e.File.Err, pki.ErrUnsupported)
}

// refusal is why sendmail's OpenSSL does not load the certificate, "" when it does.
func (a *assessment) refusal() string {
	if a.leaf == nil {
		return ""
	}
	return a.obs.Accept.Libssl.Refuses(a.leaf)
}

// keyTooWeak: a key of another CA's certificate is, when OpenSSL does not load the
// pair; of our own keys more is asked.
func (a *assessment) keyTooWeak() bool {
	if a.owner == Foreign && a.matches {
		return a.refusal() == pki.WeakKey
	}
	return weak(a.key)
}

func weak(pub crypto.PublicKey) bool {
	k, ok := pub.(*rsa.PublicKey)
	return ok && k.N.BitLen() < minimumRSA
}

// bothPurposes says that c is for servers and for clients.
func bothPurposes(c *x509.Certificate) bool {
	server, client := purposes(c)
	return server && client
}

// purposes: no extended key usage at all allows everything (RFC 5280 4.2.1.12).
func purposes(c *x509.Certificate) (server, client bool) {
	if len(c.ExtKeyUsage)+len(c.UnknownExtKeyUsage) == 0 {
		return true, true
	}
	for _, u := range c.ExtKeyUsage {
		server = server || u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny
		client = client || u == x509.ExtKeyUsageClientAuth || u == x509.ExtKeyUsageAny
	}
	return server, client
}

// rotates says that a key of ours has reached the configured age. Its age is
// known from the state alone.
func (a *assessment) rotates() bool {
	if a.cfg.Key.RotateAfter <= 0 || a.key == nil {
		return false
	}
	o, known := a.obs.State.Ours[FileID(a.obs.Certs.Key.Digest)]
	return known && a.now.Sub(o.At) >= a.cfg.Key.RotateAfter
}

// wishOpen says that the certificate somebody wanted replaced is still there.
func (a *assessment) wishOpen() bool {
	return (a.wish.Renew || a.wish.Rekey) && LeafID(a.leaf) == a.wish.From
}

func (a *assessment) rekeyOpen() bool { return PublicID(a.key) == a.wish.FromKey }

// keptForeign says that the installed pair is somebody else's and stays: it
// works, or only its expiry, its names or its modes are wrong.
func (a *assessment) keptForeign() bool {
	if a.unjudged() {
		return true
	}
	return a.owner == Foreign && a.matches && a.refusal() == "" && !(a.wish.Force && a.wishOpen())
}

// held says that somebody restored this very certificate: it stays until its renewal.
func (a *assessment) held() bool {
	return a.leaf != nil && a.obs.State.Hold != "" && a.obs.State.Hold == LeafID(a.leaf) &&
		a.matches && a.refusal() == "" && !a.isDue(a.leaf) && !a.wishOpen() && a.revoked == nil
}

// unjudged says that key or certificate are well-formed, but of a kind that
// mailcertd cannot read: they may well work, so they are left alone.
func (a *assessment) unjudged() bool {
	k, c := a.obs.Certs.Key, a.obs.Certs.Cert
	if a.leaf != nil && a.leaf.PublicKey == nil && k.Node.Exists && !a.keyUnusable() {
		return !(a.wish.Force && a.wishOpen()) // its kind is one that OpenSSL may know
	}
	return errors.Is(k.Key.Err, pki.ErrUnsupported) && c.Node.Exists ||
		errors.Is(c.File.Err, pki.ErrUnsupported) && k.Node.Exists
}

// unreadable is the node among key and certificate that stands in the way of
// any decision: a directory, a special file, or something we may not read.
func (a *assessment) unreadable() (durable.Node, bool) {
	for _, n := range []durable.Node{a.obs.Certs.Key.Node, a.obs.Certs.Cert.Node} {
		if n.Err != nil || n.Exists && !n.IsRegular {
			return n, true
		}
	}
	return durable.Node{}, false
}
