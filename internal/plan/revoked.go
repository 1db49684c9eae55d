package plan

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
)

// revoked is the CA's revocation of an installed certificate.
type revoked struct {
	at      time.Time
	reason  string // a word of ca.Reasons; "" where none was given
	keyLost bool   // another person may have the key, so the next certificate needs a new one
}

func (r *revoked) String() string {
	text := "was revoked on " + moment(r.at)
	if r.reason != "" {
		text += " (" + r.reason + ")"
	}
	return text
}

// revocationOf looks up the installed certificate in the database of the local CA, or in the CRLs that the CA host
// sent; nil where it is not revoked. For one of an ACME CA, the state says whether a person has had it revoked.
func revocationOf(p *pair) *revoked {
	if p.leaf == nil || p.owner != Ours {
		return nil
	}
	if m := p.obs.State.ACME[p.is.Name]; p.issuer.acme() && !m.Revoked.IsZero() && m.Leaf == pki.Fingerprint(p.leaf) {
		return &revoked{m.Revoked, m.RevokedFor, lost(ca.Reasons()[m.RevokedFor])}
	}
	if !p.issuer.remote() {
		// The row is asked and not the generation, which may have been removed when its last valid leaf was revoked.
		e, row := p.obs.CA.ServingRows[ca.FormatSerial(p.leaf.SerialNumber)]
		if !row || e.Status != ca.Revoked || e.Serial.Cmp(p.leaf.SerialNumber) != 0 ||
			!e.Expires.Equal(p.leaf.NotAfter) {
			return nil
		}
		return &revoked{e.Revoked, e.Reason, lost(ca.Reasons()[e.Reason])}
	}
	r := listed(p.obs, p.leaf)
	if r == nil || !p.issuer.issued(p.leaf) {
		return nil
	}
	out := &revoked{at: r.RevocationTime, keyLost: lost(r.ReasonCode)}
	for word, code := range ca.Reasons() {
		if code == r.ReasonCode && code != 0 {
			out.reason = word
		}
	}
	return out
}

// lost reports whether a reason code is keyCompromise or CACompromise, RFC 5280 5.3.1.
func lost(code int) bool { return code == 1 || code == 2 }

// listed returns the entry of a certificate in the CRLs that the CA host sent; nil for none.
func listed(obs Observed, c *x509.Certificate) *x509.RevocationListEntry {
	for _, der := range obs.Reply.CRLs {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			continue
		}
		for _, g := range obs.Accepted {
			if !pki.ListSignedBy(l, g) {
				continue
			}
			for i, r := range l.RevokedCertificateEntries {
				if r.SerialNumber.Cmp(c.SerialNumber) == 0 {
					return &l.RevokedCertificateEntries[i]
				}
			}
		}
	}
	return nil
}

// isListed reports whether the CA host's CRLs revoke a certificate. The local CA needs no such check: its revoked
// certificates are never among the candidates.
func isListed(p *pair, c *x509.Certificate) bool { return p.issuer.remote() && listed(p.obs, c) != nil }
