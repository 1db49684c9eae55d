package plan

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/certdir"
	"mailcertd/internal/mta"
	"mailcertd/internal/pki"
)

// objections lists what is wrong with the certificate and can be overruled with --force, and notes. same says that
// sendmail shows the pair Host as a client too.
func objections(p Carried, obs Observed, name string, now time.Time, pair certdir.Pair,
	same bool) (wrong []error, notes []string) {
	c := p.Leaf
	if name == "" || c.VerifyHostname(name) != nil && !strings.EqualFold(c.Subject.CommonName, name) {
		wrong = append(wrong, fmt.Errorf("is for %s, and this host is called %q",
			strings.Join(CertNames(c), ", "), name))
	} else if c.VerifyHostname(name) != nil {
		notes = append(notes, "the certificate has its name only in the CN, and no subjectAltName")
	}
	if now.After(c.NotAfter) {
		wrong = append(wrong, fmt.Errorf("expired on %s, and the clock says %s", c.NotAfter.UTC().Format("2006-01-02"),
			moment(now)))
	} else if now.Before(c.NotBefore) {
		wrong = append(wrong, fmt.Errorf("is not valid before %s, and the clock says %s",
			moment(c.NotBefore), moment(now)))
	}
	server, client := purposes(c)
	if pair.Server() && !server {
		wrong = append(wrong, errors.New("is not for servers (extendedKeyUsage lacks serverAuth)"))
	}
	if pair == certdir.Client && !client {
		wrong = append(wrong, errors.New("is not for clients (extendedKeyUsage lacks clientAuth)"))
	}
	if pair == certdir.Host && same && !client {
		notes = append(notes,
			"the certificate is not for clients (extendedKeyUsage lacks clientAuth): hosts that receive mail from "+
				"this one will log verify=FAIL")
	}
	if why := (pki.Libssl{Level: 2}).Refuses(c); why != "" {
		wrong = append(wrong,
			fmt.Errorf(
				"is too weak for OpenSSL's security level 2 (%s): a sendmail that is linked with OpenSSL 3.2 or "+
					"later offers no STARTTLS with it", why))
	}
	known := slices.Concat(p.Middle, p.Roots, obs.Certs.CA.File.Certs, obs.Accepted)
	for _, t := range obs.Certs.Trust {
		known = append(known, t.File.Certs...)
	}
	if g := obs.CA.Current.Cert; g != nil {
		known = append(known, g)
	}
	if pki.SelfSigned(c) {
		notes = append(notes, "the certificate is self-signed: other hosts will log verify=FAIL")
		return wrong, notes
	}
	if !slices.ContainsFunc(known, func(k *x509.Certificate) bool { return pki.IssuedBy(c, k) }) {
		wrong = append(wrong,
			fmt.Errorf("was issued by %q, which is neither in the file nor known on this host: add the chain to "+
				"the file",
				pki.Readable(c.RawIssuer)))
		return wrong, notes
	}
	if ended := endedAbove(c, known, now, 0); ended != nil {
		wrong = append(wrong, fmt.Errorf("its issuer %q expired on %s", pki.Readable(ended.RawSubject),
			ended.NotAfter.UTC().Format("2006-01-02")))
	} else if why := mta.Objection(obs.CF.Handshakes(obs.Accept.Libssl),
		slices.Concat([]*x509.Certificate{c}, p.Middle),
		known, now); why != "" {
		wrong = append(wrong,
			fmt.Errorf("does not verify with the CA certificates that this host knows: OpenSSL reports %q",
				why))
	}
	return wrong, notes
}

// endedAbove returns an expired issuer where every chain from c goes through one; nil where a chain without one exists.
func endedAbove(c *x509.Certificate, known []*x509.Certificate, now time.Time, depth int) *x509.Certificate {
	if depth > 10 || pki.SelfSigned(c) {
		return nil
	}
	var ended *x509.Certificate
	for _, k := range known {
		if k.Equal(c) || !pki.IssuedBy(c, k) {
			continue
		}
		above := k
		if !now.After(k.NotAfter) {
			above = endedAbove(k, known, now, depth+1)
		}
		if above == nil {
			return nil
		}
		if ended == nil {
			ended = above
		}
	}
	return ended
}
