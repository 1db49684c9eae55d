package plan

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"slices"

	"mailcertd/internal/ca"
	"mailcertd/internal/config"
	"mailcertd/internal/pki"
)

// Owner says who made the installed certificate. It decides what may be replaced.
type Owner string

// The owners.
const (
	Nobody  Owner = "nobody"  // nothing readable there
	Ours    Owner = "ours"    // chains to a generation in the CA directory, or its digest is in the state
	Interim Owner = "interim" // self-signed by us until an issuer can sign
	Stanza  Owner = "stanza"  // made by the base system's rc.d/sendmail
	Foreign Owner = "foreign" // bought, or of another CA
)

// mine reports whether mailcertd renews it by itself.
func (o Owner) mine() bool { return o == Ours || o == Interim }

// InterimOrganization is in the subject of an interim certificate, which is recognized by it without the state.
const InterimOrganization = "mailcertd interim"

// stanzaComment is what the base stanza's openssl.cnf puts into nsComment.
const stanzaComment = "OpenSSL Generated Certificate"

// netscapeComment is Netscape's nsComment, x509v3_config(5).
var netscapeComment = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 1, 13}

func (p *pair) ownerOf(c *x509.Certificate) Owner {
	if c == nil {
		return Nobody
	}
	if p.issuedHere(c) || p.isAnswer(c) {
		return Ours
	}
	if pki.SelfSigned(c) && slices.Contains(c.Subject.Organization, InterimOrganization) {
		return Interim
	}
	if o, known := p.obs.State.Ours[FileID(p.certFile.Digest)]; known && o.Kind == "cert" {
		return Ours // a bought leaf whose CA in cacert.pem changes is recognized elsewhere
	}
	if p.fromStanza(c) {
		return Stanza
	}
	return Foreign
}

// fromStanza reports whether rc.d/sendmail made c: CA and leaf share one DN, serial 01, openssl's comment, and no key
// of that CA exists. The last condition excludes a CA that a person made with the same openssl.cnf.
func (p *pair) fromStanza(c *x509.Certificate) bool {
	if !bytes.Equal(c.RawIssuer, c.RawSubject) || c.SerialNumber == nil || c.SerialNumber.Int64() != 1 ||
		!hasComment(c) {
		return false
	}
	for _, ca := range p.obs.Certs.CA.File.Certs {
		if !issuedUnder(c, ca) {
			continue
		}
		if pub := p.obs.CA.KeyInfo.Public; pub != nil && pki.SamePublicKey(ca.PublicKey, pub) {
			return false
		}
	}
	return !p.obs.CA.KeyInfo.Encrypted // an encrypted CA key may belong to it: then it is a person's CA
}

func hasComment(c *x509.Certificate) bool {
	for _, e := range c.Extensions {
		if e.Id.Equal(netscapeComment) && bytes.Contains(e.Value, []byte(stanzaComment)) {
			return true
		}
	}
	return false
}

// generations are the CA certificates in the CA directory, the current one first; with the CA on another host, its
// accepted certificates.
func (a *assessment) generations() []*x509.Certificate {
	out := a.issuing()
	if b := a.beside(); b != nil {
		out = append(out, b.issuing()...)
	}
	return out
}

// issuing are the generations of this assessment's issuer alone.
func (a *assessment) issuing() []*x509.Certificate {
	if a.acme() {
		return nil
	}
	if a.remote() {
		return slices.Clone(a.obs.Accepted)
	}
	var out []*x509.Certificate
	if c := a.obs.CA.Current.Cert; c != nil {
		out = append(out, c)
	}
	for _, g := range a.obs.CA.Older {
		if g.Cert != nil {
			out = append(out, g.Cert)
		}
	}
	if a.obs.CA.HasNext() {
		out = append(out, a.obs.CA.Next.Cert)
	}
	return out
}

// remote reports whether the CA is on another host.
func (a *assessment) remote() bool { return a.cfg.Issuer.Kind == config.IssuerSSH }

// currentCA is the generation that signs now; nil when none is known.
func (a *assessment) currentCA() *x509.Certificate {
	if a.acme() {
		return nil
	}
	if !a.remote() {
		return a.obs.CA.Current.Cert
	}
	if len(a.obs.Accepted) > 0 {
		return a.obs.Accepted[0]
	}
	return nil
}

// trustSet are the CA certificates that cacert.pem must hold, the current one first.
func (a *assessment) trustSet() []*x509.Certificate {
	out := a.bundle()
	if b := a.beside(); b != nil {
		out = append(out, slices.DeleteFunc(b.bundle(), func(c *x509.Certificate) bool { return contains(out, c) })...)
	}
	return out
}

// bundle is the part of trustSet that this assessment's issuer needs.
func (a *assessment) bundle() []*x509.Certificate {
	if a.acme() {
		return nil
	}
	if !a.remote() {
		return ca.Bundle(a.obs.CA, a.at)
	}
	return slices.DeleteFunc(slices.Clone(a.obs.Accepted), func(c *x509.Certificate) bool {
		return a.at.After(c.NotAfter)
	})
}

// partial reports that a generation could not be read, so that a certificate of unknown origin may be from it.
func (a *assessment) partial() bool {
	if a.acme() {
		return false
	}
	if a.remote() {
		return a.obs.AcceptedErr != nil
	}
	return a.obs.CA.Partial()
}

// issuedHere reports whether a generation in the CA directory issued c.
func (a *assessment) issuedHere(c *x509.Certificate) bool {
	return slices.ContainsFunc(a.generations(), func(g *x509.Certificate) bool { return issuedUnder(c, g) })
}

// keyIsOurs reports whether mailcertd made the installed key, or certified it.
func (p *pair) keyIsOurs() bool {
	if p.key == nil {
		return false
	}
	if _, known := p.obs.State.Ours[FileID(p.keyFile.Digest)]; known {
		return true
	}
	if p.matches && p.owner.mine() {
		return true
	}
	for _, is := range p.obs.CA.Issued {
		if pki.SamePublicKey(is.Cert.PublicKey, p.key) {
			return true
		}
	}
	return false
}

// fileIsOurs reports whether mailcertd wrote a file with this content.
func (a *assessment) fileIsOurs(sum [32]byte) bool {
	_, known := a.obs.State.Ours[FileID(sum)]
	return known
}
