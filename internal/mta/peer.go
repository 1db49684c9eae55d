package mta

import (
	"bytes"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"time"

	"mailcertd/internal/pki"
)

// Verify is the value of sendmail's macro ${verify} for an outgoing connection (op.me, section 5.5).
type Verify string

// The values that Peer may return.
const (
	VerifyOK       Verify = "OK"       // the chain leads to a trusted CA
	VerifyFail     Verify = "FAIL"     // the chain does not lead to a trusted CA, or has another fault
	VerifyNone     Verify = "NONE"     // no TLS: not offered, or refused for good
	VerifyTemp     Verify = "TEMP"     // STARTTLS refused with a 4xx reply
	VerifyProtocol Verify = "PROTOCOL" // the reply to STARTTLS is not valid SMTP
	VerifySoftware Verify = "SOFTWARE" // the TLS handshake failed
)

// PeerOptions are the peer, what we trust, and what we present.
type PeerOptions struct {
	Host string // name or address, as it is to be in the certificate
	Port string
	HELO string // our own name
	// Trusted are the certificates of CACertFile and those that OpenSSL finds in CACertPath.
	Trusted []*x509.Certificate
	Leaf    *x509.Certificate // our certificate; nil: none is presented
	Key     crypto.Signer     // its key; nil: none is presented
	// Served are the leaves that our own sendmail shows when the peer sends mail here.
	Served []*x509.Certificate
	// LeafFile and KeyFile have Leaf and Key, for the openssl command; "": it presents no certificate.
	LeafFile, KeyFile string
	Now               time.Time // the time for the validity of certificates
	// Libssl is the OpenSSL at the security level of handshakes, see CF.Handshakes.
	Libssl pki.Libssl
}

// PeerReport is the result of Peer. Err is why there is no chain to judge. Verify is "" where the dialogue ended before
// the reply to EHLO.
type PeerReport struct {
	Addr    string // host:port from the options
	Remote  string // address:port of the connection, "" for none
	Banner  string
	Offered bool
	Verify  Verify
	Reason  string // verifymsg= of a FAIL, in OpenSSL's words
	Err     error

	Version uint16 // the number in crypto/tls, 0 without TLS
	Cipher  uint16 // the number in crypto/tls, 0 without TLS
	// CipherName is the cipher's name from openssl; "" where there is no openssl: then use Cipher.
	CipherName string
	Chain      []*x509.Certificate // as the peer sent it, leaf first
	NameErr    error               // why the leaf does not name Host; sendmail does not check this

	Asked      bool   // the peer asked for our certificate
	Presented  bool   // we presented it
	ListsOurs  bool   // the list of CAs that it sent names one of our chain's issuers
	Alert      error  // the alert with which it refused us after the handshake; nil for none
	Own        Verify // our own chain as a client's, judged with Trusted; "" without Leaf
	OwnReason  string
	OwnTrouble string // why our certificate was not presented although there is one
	// Served judges PeerOptions.Served as a client's sendmail would that trusts what we trust.
	Served []ServedVerdict
}

// ServedVerdict is what a client with our CAs logs about a leaf that our sendmail shows. Reason is verifymsg= of a
// FAIL.
type ServedVerdict struct {
	Leaf   *x509.Certificate
	Verify Verify
	Reason string
}

// Peer does STARTTLS with a host as sendmail's client does, presents our certificate if it is asked for one, and judges
// the chain that it receives. ctx bounds the whole dialogue; every step has its own deadline too.
func Peer(ctx context.Context, o PeerOptions) PeerReport {
	r := PeerReport{Addr: net.JoinHostPort(o.Host, o.Port)}
	conf := &tls.Config{}
	if net.ParseIP(o.Host) == nil { // RFC 6066 3: no addresses
		conf.ServerName = o.Host
	}
	var own []*x509.Certificate
	if o.Leaf != nil {
		// sendmail loads only the leaf; OpenSSL adds issuers from what it trusts (SSL_MODE_NO_AUTO_CHAIN in
		// SSL_CTX_set_mode(3)).
		own = buildChain([]*x509.Certificate{o.Leaf}, o.Trusted, o.Now).certs
		r.Own, r.OwnReason = o.verdict(own[:1], x509.ExtKeyUsageClientAuth)
	}
	conf.GetClientCertificate = func(req *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		r.Asked = true
		c := &tls.Certificate{}
		if o.Key == nil || len(own) == 0 {
			return c, nil
		}
		for _, x := range own {
			r.ListsOurs = r.ListsOurs || slices.ContainsFunc(req.AcceptableCAs,
				func(dn []byte) bool { return bytes.Equal(dn, x.RawIssuer) })
			c.Certificate = append(c.Certificate, x.Raw)
		}
		c.PrivateKey, c.Leaf = o.Key, o.Leaf
		// The list of CAs is only advice: OpenSSL presents its certificate in any case.
		anyCA := *req
		anyCA.AcceptableCAs = nil
		if err := anyCA.SupportsCertificate(c); err != nil {
			r.OwnTrouble = err.Error()
			return &tls.Certificate{}, nil
		}
		r.Presented = true
		return c, nil
	}
	given := credentials{}
	if o.Key != nil && len(own) > 0 {
		given = credentials{cert: o.LeafFile, key: o.KeyFile}
	}
	// OpenSSL is tried first, because sendmail uses it and would see the same.
	goes := byGo(conf, "")
	opens := byOpenSSL(conf.ServerName, given, "")
	s, ses := look(ctx, Endpoint{Addr: r.Addr}, o.HELO,
		func(ctx context.Context, conn net.Conn, s *Served, ses *session) error {
			err := opens(ctx, conn, s, ses)
			if errors.Is(err, errNoOpenSSL) {
				return goes(ctx, conn, s, ses)
			}
			return err
		})
	if ses.cipher != "" {
		r.Asked, r.Presented, r.CipherName = ses.asked, ses.presented, ses.cipher
		for _, x := range own {
			r.ListsOurs = r.ListsOurs || slices.Contains(ses.accepts, exactName(x.RawIssuer))
		}
	}
	r.Remote, r.Banner, r.Offered, r.Err, r.Alert = ses.remote, s.Banner, s.Offered, s.Err, ses.alert
	r.Version, r.Cipher, r.Chain = ses.state.Version, ses.state.CipherSuite, ses.state.PeerCertificates
	if r.Err != nil || !r.Offered {
		r.Verify = without(s)
		return r
	}
	r.NameErr = r.Chain[0].VerifyHostname(o.Host)
	r.Verify, r.Reason = o.verdict(r.Chain, x509.ExtKeyUsageServerAuth)
	for _, leaf := range o.Served {
		v := ServedVerdict{Leaf: leaf}
		v.Verify, v.Reason = o.verdict([]*x509.Certificate{leaf}, x509.ExtKeyUsageServerAuth)
		r.Served = append(r.Served, v)
	}
	return r
}

// verdict judges a chain by the CAs that we trust.
func (o PeerOptions) verdict(chain []*x509.Certificate, purpose x509.ExtKeyUsage) (v Verify, reason string) {
	if reason = verifyChain(o.Libssl, chain, o.Trusted, purpose, o.Now); reason != "" {
		return VerifyFail, reason
	}
	return VerifyOK, ""
}

// without is the value of ${verify} for a dialogue in which no certificate was seen.
func without(s Served) Verify {
	var reply replyError
	switch {
	case !s.Offered && s.Err != nil:
		return ""
	case !s.Offered:
		return VerifyNone
	case errors.Is(s.Err, errHandshake):
		return VerifySoftware
	case errors.As(s.Err, &reply) && reply.line[0] == '4':
		return VerifyTemp
	case errors.As(s.Err, &reply) && reply.line[0] == '5':
		return VerifyNone
	}
	return VerifyProtocol
}
