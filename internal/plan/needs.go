package plan

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// minimumRSA is the shortest RSA key that mailcertd makes, in bits: OpenSSL requires it at security level 2, see
// SSL_CTX_set_security_level(3).
const minimumRSA = 2048

// need is one state of host.key and host.cert that requires another certificate. The first row that applies gives the
// reason of the action; every row that applies is reported.
type need struct {
	reason   Reason
	severity Severity
	key      bool // the key must be another one too
	// broken says that sendmail cannot use the pair as it is. A pair that works is replaced only by a believed clock.
	broken  bool
	path    func(*pair) string
	applies func(*pair) bool
	text    func(*pair) string
	hint    func(*pair) string // what a person can do where no action repairs it; nil: nothing
}

func certPath(p *pair) string { return p.certFile.Node.Path }
func keyPath(p *pair) string  { return p.keyFile.Node.Path }

// needs returns the rows that apply to the pair now.
func (p *pair) needs() (out []need) {
	for _, n := range needs {
		if n.applies(p) {
			out = append(out, n)
		}
	}
	if follows(p) {
		out = append(out, following)
	}
	return out
}

// needs lists every case in which a certificate is issued or taken from newcerts, the most important first.
var needs = []need{
	{reason: KeyMissing, severity: Error, key: true, broken: true, path: keyPath,
		applies: func(p *pair) bool { return p.lacksKey() },
		text:    func(p *pair) string { return missing(p.keyFile.Node) }},
	{reason: KeyUnusable, severity: Error, key: true, broken: true, path: keyPath,
		applies: func(p *pair) bool { return p.keyUnusable() },
		text:    func(p *pair) string { return p.keyFile.Key.Err.Error() }},
	{reason: KeyWeak, severity: Error, key: true, broken: true, path: keyPath,
		applies: func(p *pair) bool { return keyTooWeak(p) },
		text: func(p *pair) string {
			return "the key is " + string(p.keyFile.Key.Type) +
				": too weak for OpenSSL, whose security level 2 requires RSA keys of 2048 bits"
		}},
	{reason: CertWeak, severity: Error, broken: true, path: certPath,
		applies: func(p *pair) bool { return p.refusal() == pki.WeakDigest },
		text: func(p *pair) string {
			return "is signed with " + signature(p.leaf) + ": sendmail's OpenSSL does not load it (" +
				pki.WeakDigest + ")"
		}},
	{reason: CertMissing, severity: Error, broken: true, path: certPath,
		applies: func(p *pair) bool { return p.lacksCert() },
		text:    func(p *pair) string { return missing(p.certFile.Node) }},
	{reason: CertUnusable, severity: Error, broken: true, path: certPath,
		applies: func(p *pair) bool { return p.certUnusable() },
		text:    func(p *pair) string { return p.certFile.File.Err.Error() }},
	{reason: Mismatch, severity: Error, broken: true, path: certPath,
		applies: func(p *pair) bool { return p.leaf != nil && p.key != nil && !p.matches },
		text:    func(p *pair) string { return "the certificate is not for the key in " + p.is.KeyFile }},
	{reason: KeyFamily, severity: Error, key: true, broken: true, path: keyPath,
		applies: func(p *pair) bool { return twin(p) && !(p.owner == Foreign && p.matches) },
		text: func(p *pair) string {
			return "the key is of the same kind as host.key, but sendmail serves only one certificate of each kind"
		}},
	{reason: StanzaSet, severity: Warning, path: certPath,
		applies: func(p *pair) bool { return p.owner == Stanza },
		text: func(*pair) string {
			return "made by the base system's rc.d/sendmail, with a throw-away CA and without a SAN; nobody renews it"
		}},
	{reason: InterimSet, severity: Error, path: certPath,
		applies: func(p *pair) bool { return p.owner == Interim },
		text:    func(*pair) string { return "it is an interim self-signed certificate, and peers log verify=FAIL" },
		hint: func(p *pair) string {
			switch {
			case p.issuer.Kind == config.IssuerNone:
				return byHand(p)
			case p.issuer.remote(), p.issuer.acme():
				return "" // request says which CA host is asked, and how to ask it now
			}
			return "mailcertd replaces it as soon as its issuer can sign"
		}},
	{reason: Expired, severity: Error, path: certPath,
		applies: func(p *pair) bool { return p.owner.mine() && p.at.After(p.leaf.NotAfter) },
		text:    func(p *pair) string { return "expired on " + moment(p.leaf.NotAfter) }},
	{reason: LeafRevoked, severity: Error, key: true, path: certPath,
		applies: func(p *pair) bool { return p.revoked != nil && p.revoked.keyLost },
		text:    func(p *pair) string { return p.revoked.String() + ", so a new key is needed too" }},
	{reason: LeafRevoked, severity: Error, path: certPath,
		applies: func(p *pair) bool { return p.revoked != nil && !p.revoked.keyLost },
		text:    func(p *pair) string { return p.revoked.String() }},
	{reason: NotYetValid, severity: Error, path: certPath,
		applies: func(p *pair) bool { return p.owner.mine() && (p.tooEarly(p.leaf) || p.olderServes()) },
		text: func(p *pair) string {
			return "not valid before " + moment(p.leaf.NotBefore) +
				": compare `date` with another host first; if the clock is right, the certificate is issued again"
		}},
	{reason: IssuerGone, severity: Error, path: certPath,
		applies: func(p *pair) bool {
			by := p.issuer
			return p.owner == Ours && (by.signs || by.remote() && by.current() != nil) && !by.partial() &&
				!by.issued(p.leaf) && otherIssuer(p) == ""
		},
		text: func(*pair) string { return "the CA that issued it no longer exists here, and there is another one" }},
	{reason: IssuerChanged, severity: Warning, path: certPath,
		applies: func(p *pair) bool { return otherIssuer(p) != "" },
		text:    func(p *pair) string { return otherIssuer(p) }},
	{reason: WrongName, severity: Error, path: certPath,
		applies: func(p *pair) bool {
			return p.owner.mine() && p.name != "" && !p.covers(p.leaf) && p.nameSettled()
		},
		text: func(p *pair) string {
			return "is for " + strings.Join(CertNames(p.leaf), ", ") + ", must be for " +
				strings.Join(p.names, ", ")
		}},
	{reason: WrongPurpose, severity: Error, path: certPath,
		applies: func(p *pair) bool { return p.owner == Ours && !p.fitsPurpose(p.leaf) },
		text: func(*pair) string {
			return "its extendedKeyUsage lacks serverAuth or clientAuth, which sendmail's use of it requires"
		}},
	{reason: KeyRotation, severity: Notice, key: true, path: keyPath,
		applies: func(p *pair) bool { return p.rotates() && p.mayChangeKey() },
		text: func(p *pair) string {
			return "the key is older than " + span(p.cfg.Key.RotateAfter)
		}},
	{reason: Due, severity: Notice, path: certPath,
		applies: func(p *pair) bool { return p.owner.mine() && p.isDue(p.leaf) && gains(p) },
		text:    func(p *pair) string { return "expires on " + moment(p.leaf.NotAfter) + "; its renewal is due" }},
	{reason: AskedForce, severity: Notice, path: certPath,
		applies: func(p *pair) bool { return p.asked && p.wish.Force && p.owner == Foreign },
		text:    func(*pair) string { return "somebody asked to replace a certificate of another CA" }},
	{reason: AskedKey, severity: Notice, key: true, path: keyPath,
		applies: func(p *pair) bool { return askedNow(p) },
		text:    func(*pair) string { return "somebody asked for a new key" }},
	{reason: Asked, severity: Notice, path: certPath,
		applies: func(p *pair) bool { return p.wish.Renew && p.asked && !(p.askedKey && !askedNow(p)) },
		text:    func(*pair) string { return "somebody asked for a renewal" }},
}

// signature names the algorithm of a certificate's signature.
func signature(c *x509.Certificate) string {
	if c.SignatureAlgorithm == x509.UnknownSignatureAlgorithm {
		return "algorithm " + pki.SignatureOID(c)
	}
	return c.SignatureAlgorithm.String()
}

func missing(n durable.Node) string {
	switch {
	case n.Kind == durable.Link:
		return "is a dangling link to " + n.Target
	case n.Exists:
		return "is a placeholder, and its first key may be used now"
	}
	return "is missing"
}

// keyTooWeak reports a key that must be replaced: with another CA's certificate one that OpenSSL does not load; one of
// our own also below minimumRSA.
func keyTooWeak(p *pair) bool {
	if p.owner == Foreign && p.matches {
		return p.refusal() == pki.WeakKey
	}
	return weak(p.key)
}

func weak(pub crypto.PublicKey) bool {
	k, ok := pub.(*rsa.PublicKey)
	return ok && k.N.BitLen() < minimumRSA
}

// byHand says how a person gets a certificate for the pair, where the issuer is none.
func byHand(p *pair) string {
	command := "mailcertd request"
	if p.is != certdir.Host {
		command += " --pair " + p.is.Name
	}
	return "send the output of `" + command + "` to the CA, then run `mailcertd install FILE` with its answer"
}
