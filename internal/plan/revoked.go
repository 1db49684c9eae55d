package plan

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/ca"
	"mailcertd/internal/pki"
)

// revoked is what the CA says against the installed certificate.
type revoked struct {
	at      time.Time
	reason  string // a word of ca.Reasons; "": none was given
	keyLost bool   // somebody else may have the key
}

func (r *revoked) String() string {
	text := "was revoked on " + day(r.at)
	if r.reason != "" {
		text += " (" + r.reason + ")"
	}
	return text
}

// isRevoked asks the database of the CA on this host, or the lists of the one
// on another, about the installed certificate; nil: nothing is said against it.
func (p *pair) isRevoked() *revoked {
	if p.leaf == nil || p.owner != Ours {
		return nil
	}
	if !p.remote() {
		// Its generation may be gone, as the last of that one's certificates; its row is not.
		e, row := p.obs.CA.ServingRows[ca.FormatSerial(p.leaf.SerialNumber)]
		if !row || e.Status != ca.Revoked || e.Serial.Cmp(p.leaf.SerialNumber) != 0 ||
			!e.Expires.Equal(p.leaf.NotAfter) {
			return nil
		}
		return &revoked{e.Revoked, e.Reason, lost(ca.Reasons()[e.Reason])}
	}
	r := listed(p.assessment, p.leaf)
	if r == nil || !p.issuedHere(p.leaf) {
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

// lost: keyCompromise and CACompromise of RFC 5280 5.3.1.
func lost(code int) bool { return code == 1 || code == 2 }

// listed is the entry of a certificate in the lists of the CA on another host.
func listed(a *assessment, c *x509.Certificate) *x509.RevocationListEntry {
	for _, der := range a.obs.Reply.CRLs {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			continue
		}
		for _, g := range a.obs.Accepted {
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

// isListed: certificates of the CA on this host that are revoked are none of
// those that could be installed.
func isListed(a *assessment, c *x509.Certificate) bool { return a.remote() && listed(a, c) != nil }
