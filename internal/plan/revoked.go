package plan

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/ca"
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
func (a *assessment) isRevoked() *revoked {
	if a.leaf == nil || a.owner != Ours {
		return nil
	}
	if !a.remote() {
		for i := range a.obs.CA.Index {
			e := &a.obs.CA.Index[i]
			// Its generation may be gone, as the last of that one's certificates; its row is not.
			if e.Err == nil && e.Status == ca.Revoked && e.Serial.Cmp(a.leaf.SerialNumber) == 0 && e.Expires.Equal(a.leaf.NotAfter) {
				return &revoked{e.Revoked, e.Reason, lost(ca.Reasons()[e.Reason])}
			}
		}
		return nil
	}
	r := a.listed(a.leaf)
	if r == nil || !a.issuedHere(a.leaf) {
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
func (a *assessment) listed(c *x509.Certificate) *x509.RevocationListEntry {
	for _, der := range a.obs.Reply.CRLs {
		l, err := x509.ParseRevocationList(der)
		if err != nil {
			continue
		}
		for _, g := range a.obs.Accepted {
			if l.CheckSignatureFrom(g) != nil {
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
func (a *assessment) isListed(c *x509.Certificate) bool { return a.remote() && a.listed(c) != nil }
