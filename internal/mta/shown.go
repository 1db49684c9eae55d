package mta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
)

// Shown is what a mail host shows to a host that sends mail to it.
type Shown struct {
	Offered bool                // STARTTLS is in its EHLO reply
	Chain   []*x509.Certificate // as it was sent, leaf first; nil: TLS did not begin
	Version uint16              // the number in crypto/tls, 0 without TLS
	Cipher  string              // "" without TLS
	// Err is why there is no chain although STARTTLS is offered, or why there was no reply to EHLO.
	Err error
}

// Show does STARTTLS with the mail host at an address and asks for the certificate of name (SNI), as RFC 7672, section
// 8.1, wants it. It verifies nothing. ctx bounds the whole dialogue.
func Show(ctx context.Context, addr, name, helo string) Shown {
	goes := byGo(&tls.Config{ServerName: name}, "")
	opens := byOpenSSL(name, credentials{}, "")
	s, ses := look(ctx, Endpoint{Addr: addr}, helo,
		func(ctx context.Context, conn net.Conn, s *Served, ses *session) error {
			err := opens(ctx, conn, s, ses)
			if errors.Is(err, errNoOpenSSL) {
				return goes(ctx, conn, s, ses)
			}
			return err
		})
	out := Shown{Offered: s.Offered, Err: s.Err}
	if s.Err == nil && s.Offered {
		out.Chain, out.Version, out.Cipher = ses.state.PeerCertificates, ses.state.Version, ses.cipher
		if out.Cipher == "" {
			out.Cipher = tls.CipherSuiteName(ses.state.CipherSuite)
		}
	}
	return out
}
