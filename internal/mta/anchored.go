package mta

import (
	"crypto/x509"
	"time"

	"mailcertd/internal/pki"
)

// Anchor is a CA that is trusted by itself, whoever has issued it: TLSA records name such CAs (DANE-TA).
type Anchor struct {
	Is   func(*x509.Certificate) bool // says whether that certificate is the CA
	Cert *x509.Certificate            // the CA, for servers that do not show it; nil: not known
	Key  any                          // the CA's bare key, for the same; nil: not known
}

// Anchored returns "" where shown, leaf first, leads to the anchor and is valid for a server at now, otherwise why not;
// met says that it leads there. It judges like X509_verify_cert(3) with SSL_dane_tlsa_add(3): the chain ends at the
// lowest CA that is the anchor.
func Anchored(by pki.Libssl, shown []*x509.Certificate, a Anchor, now time.Time) (met bool, why string) {
	if len(shown) == 0 {
		return false, noLocalIssuer
	}
	var store []*x509.Certificate
	if a.Cert != nil {
		store = append(store, a.Cert)
	}
	ch := buildChain(shown, store, now)
	for n, c := range ch.certs {
		if n > 0 && a.Is(c) {
			ch.certs, ch.anchored = ch.certs[:n+1], true
			break
		}
	}
	if top := ch.certs[len(ch.certs)-1]; !ch.anchored && a.Key != nil {
		ch.anchored = pki.SignedBy(top, &x509.Certificate{PublicKey: a.Key})
	}
	switch {
	case !ch.anchored:
		return false, ch.fault(by, x509.ExtKeyUsageServerAuth, now)
	case by.WeakKey(shown[0]):
		return true, weakLeafKey
	}
	return true, ch.fault(by, x509.ExtKeyUsageServerAuth, now)
}
