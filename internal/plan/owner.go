package plan

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"slices"

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

// isInterim reports whether c is an interim certificate.
func isInterim(c *x509.Certificate) bool {
	return pki.SelfSigned(c) && slices.Contains(c.Subject.Organization, InterimOrganization)
}

// stanzaComment is what the base stanza's openssl.cnf puts into nsComment.
const stanzaComment = "OpenSSL Generated Certificate"

// netscapeComment is Netscape's nsComment, x509v3_config(5).
var netscapeComment = asn1.ObjectIdentifier{2, 16, 840, 1, 113730, 1, 13}

func ownerOf(p *pair) Owner {
	c := p.leaf
	if c == nil {
		return Nobody
	}
	if p.issuer.issued(c) || p.isAnswer(c) || directoryIn(p.certFile) != "" {
		return Ours
	}
	if isInterim(c) {
		return Interim
	}
	if o, known := p.obs.State.Ours[FileID(p.certFile.Digest)]; known && o.Kind == "cert" {
		return Ours // a bought leaf whose CA in cacert.pem changes is recognized elsewhere
	}
	if fromStanza(p) {
		return Stanza
	}
	return Foreign
}

// fromStanza reports whether rc.d/sendmail made the certificate: CA and leaf share one DN, serial 01, openssl's
// comment, and no key of that CA exists. The last condition excludes a CA that a person made with the same openssl.cnf.
func fromStanza(p *pair) bool {
	c := p.leaf
	if !bytes.Equal(c.RawIssuer, c.RawSubject) || c.SerialNumber == nil || c.SerialNumber.Int64() != 1 ||
		!hasComment(c) {
		return false
	}
	for _, ca := range p.obs.Certs.CA.File.Certs {
		if !pki.IssuedBy(c, ca) {
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
