package mta

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"mailcertd/internal/pki"
	"mailcertd/internal/text"
)

// How long each step of a dialogue may take, and how large a reply may be.
const (
	connectPatience   = 30 * time.Second // TCP
	replyPatience     = 5 * time.Minute  // for the greeting and each reply, RFC 5321 4.5.3.2: greet_pause is real
	handshakePatience = time.Minute
	politePatience    = 2 * time.Second // for a greeting whose text is not needed
	maxReplyLine      = 2048            // octets, RFC 5321 4.5.3.1.5 asks for 512
	maxReply          = 100             // lines
)

// Served is what a listener serves.
type Served struct {
	Addr    string
	Family  string // the key family that the client asked for, "" for any
	Banner  string // the text of its 220 reply
	Offered bool   // STARTTLS is in its EHLO reply
	Leaf    *x509.Certificate
	Refused bool // nothing listens there: the error is ECONNREFUSED
	// Lacks says that the server has no certificate of the key family that was asked for: it sent a handshake failure
	// alert to OpenSSL's client, which offers every cipher suite. Err has the alert.
	Lacks bool
	// Err is why the certificate was not seen; it is nil where STARTTLS is not offered.
	Err error
}

// Unseen says that the certificate was not seen although a server may be there.
func (s Served) Unseen() bool { return s.Err != nil && !s.Refused && !s.Lacks }

// Patience is enough time for a whole dialogue with a host that greets as late as RFC 5321 allows.
const Patience = 6 * time.Minute

// Probe connects, says EHLO and, where TLS does not begin at once, STARTTLS (RFC 3207), reads the certificate and says
// QUIT. It does not verify the certificate. Every step has a deadline as long as that of a mail host; ctx bounds all of
// them.
//
// family is a key family, "rsa" or "ecdsa" (pki.KeyType.Family): the probe accepts only certificates of that family, so
// that a sendmail with two pairs serves the one of that family; "" accepts any.
//
// It tries Go's TLS first, which needs no other program. But that has no DHE, not all ciphers, and its own limits for
// keys, so its failure says nothing about a mail host. After a failed handshake it tries the system's openssl, the
// library that sendmail itself uses. With a family, Go's TLS uses TLS 1.2, where the cipher suite selects it: for TLS
// 1.3, Go does not let a client choose the signature algorithms. openssl asks a server that has only TLS 1.3.
func Probe(ctx context.Context, at Endpoint, helo, family string) Served {
	s := probe(ctx, at, helo, family)
	s.Family = family
	return s
}

func probe(ctx context.Context, at Endpoint, helo, family string) Served {
	s, _ := look(ctx, at, helo, byGo(&tls.Config{}, family))
	// A server may serve an Ed25519 certificate with a cipher suite of ECDSA.
	if s.Leaf != nil && family != "" && pki.TypeOf(s.Leaf.PublicKey).Family() != family {
		s.Leaf, s.Err = nil, fmt.Errorf("%w: a certificate for a key of another kind was shown", errHandshake)
	}
	if !errors.Is(s.Err, errHandshake) || ctx.Err() != nil {
		return s
	}
	second, _ := look(ctx, at, helo, byOpenSSL("", credentials{}, family))
	if second.Err != nil { // report both errors
		s.Err = fmt.Errorf("%w (the second try, with openssl s_client: %w)", s.Err, second.Err)
		s.Lacks = family != "" && errors.Is(second.Err, errHandshake) &&
			strings.Contains(second.Err.Error(), "alert handshake failure")
		return s
	}
	return second
}

// session is what look finds out in addition to Served.
type session struct {
	remote string // the address of the connection, "" for none
	atOnce bool   // TLS begins at once, and the greeting comes after the handshake
	state  tls.ConnectionState
	cipher string // OpenSSL's name of it, where openssl did TLS; "": use state
	alert  error  // the TLS alert with which the other side answered our QUIT; nil for none

	// Only byOpenSSL sets these; with Go's TLS, callbacks of tls.Config learn the same.
	asked     bool     // the other side asked for a certificate
	presented bool     // we presented one
	accepts   []string // the CAs that it listed, in the form of exactName
}

// shaker does the TLS handshake on a connection that is ready for it, sets s.Leaf, and says QUIT.
type shaker func(ctx context.Context, conn net.Conn, s *Served, ses *session) error

// look does the dialogue up to STARTTLS, or none where TLS begins at once, and shake the rest. The handshake never
// verifies the certificate, so that an expired or self-signed one is seen too.
func look(ctx context.Context, at Endpoint, helo string, shake shaker) (Served, session) {
	addr := at.Addr
	s, ses := Served{Addr: addr}, session{atOnce: at.TLS}
	d := net.Dialer{Timeout: connectPatience}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		s.Refused = errors.Is(err, syscall.ECONNREFUSED)
		s.Err = err
		return s, ses
	}
	defer conn.Close()
	ses.remote = conn.RemoteAddr().String()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if s.Err = s.dialogue(ctx, conn, helo, &ses, shake); s.Err != nil {
		s.Err = fmt.Errorf("%s: %w", addr, s.Err)
		if ctx.Err() != nil {
			s.Err = fmt.Errorf("%w: %w", s.Err, ctx.Err())
		}
	}
	return s, ses
}

// within sets the deadline of the next step, unless ctx is done: its deadline then stays.
func within(ctx context.Context, conn net.Conn, patience time.Duration) {
	if ctx.Err() == nil {
		conn.SetDeadline(time.Now().Add(patience))
	}
}

func (s *Served) dialogue(ctx context.Context, conn net.Conn, helo string, ses *session, shake shaker) error {
	if ses.atOnce {
		s.Offered = true
		return shake(ctx, conn, s, ses)
	}
	r := bufio.NewReaderSize(conn, maxReplyLine)
	say := func(line string) error {
		within(ctx, conn, replyPatience)
		_, err := conn.Write([]byte(line + "\r\n"))
		return err
	}
	within(ctx, conn, replyPatience)
	greeting, err := readReply(r, 220)
	if err != nil {
		return fmt.Errorf("greeting: %w", err)
	}
	s.Banner = greeting[0]
	if err := say("EHLO " + helo); err != nil {
		return err
	}
	lines, err := readReply(r, 250)
	if err != nil {
		return fmt.Errorf("EHLO: %w", err)
	}
	for _, l := range lines[1:] {
		s.Offered = s.Offered || strings.EqualFold(strings.TrimSpace(l), "STARTTLS")
	}
	if !s.Offered {
		return say("QUIT")
	}
	if err := say("STARTTLS"); err != nil {
		return err
	}
	if _, err := readReply(r, 220); err != nil {
		return fmt.Errorf("STARTTLS: %w", err)
	}
	if r.Buffered() > 0 {
		return errors.New("STARTTLS: it sent more than the reply")
	}
	return shake(ctx, conn, s, ses)
}

// byGo is a shaker that uses crypto/tls.
func byGo(conf *tls.Config, family string) shaker {
	return func(ctx context.Context, conn net.Conn, s *Served, ses *session) error {
		conf.InsecureSkipVerify, conf.MinVersion, conf.CipherSuites = true, tls.VersionTLS10, allCiphers(family)
		if family != "" {
			conf.MaxVersion = tls.VersionTLS12
		}
		within(ctx, conn, handshakePatience)
		tc := tls.Client(conn, conf)
		if err := tc.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("%w: %w", errHandshake, err)
		}
		ses.state = tc.ConnectionState()
		if cs := ses.state.PeerCertificates; len(cs) > 0 {
			s.Leaf = cs[0]
		}
		if ses.atOnce && s.Leaf != nil { // the certificate is seen, so do not wait for a late greeting
			within(ctx, conn, politePatience)
			if _, err := readReply(bufio.NewReaderSize(tc, maxReplyLine), 220); err == nil {
				_, _ = tc.Write([]byte("QUIT\r\n"))
			}
			return nil
		}
		within(ctx, conn, handshakePatience)
		if _, err := tc.Write([]byte("QUIT\r\n")); err == nil {
			// Under TLS 1.3 a server refuses a client's certificate only now.
			_, err = readReply(bufio.NewReaderSize(tc, maxReplyLine), 221)
			var op *net.OpError
			if errors.As(err, &op) && op.Op == "remote error" {
				ses.alert = op.Err
			}
		}
		if s.Leaf == nil {
			return fmt.Errorf("%w: it presented no certificate", errHandshake)
		}
		return nil
	}
}

var errHandshake = errors.New("TLS handshake")

// replyError is a valid reply with an unexpected code.
type replyError struct{ line, want string }

func (e replyError) Error() string {
	return fmt.Sprintf("reply %q, must be %s", text.Clip(e.line, mostQuoted), e.want)
}

// allCiphers are all cipher suites of crypto/tls for certificates of this family, also those that it does not offer by
// default (RSA key exchange, 3DES, RC4): the probe only looks at the certificate and sends no secret.
func allCiphers(family string) []uint16 {
	var ids []uint16
	for _, c := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
		exchange, _, _ := strings.Cut(c.Name, "_WITH_") // TLS_RSA, TLS_ECDHE_RSA or TLS_ECDHE_ECDSA
		if strings.HasSuffix(exchange, "_"+strings.ToUpper(family)) || family == "" {
			ids = append(ids, c.ID)
		}
	}
	return ids
}

// readReply reads one SMTP reply (RFC 5321 4.2.1) and returns its lines without the code; at least one. A code other
// than want is a replyError.
func readReply(r *bufio.Reader, want int) ([]string, error) {
	var out []string
	code := fmt.Sprint(want)
	for {
		raw, err := r.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			return nil, fmt.Errorf("a reply line is longer than %d octets", maxReplyLine)
		} else if err != nil {
			return nil, err
		}
		line := strings.TrimRight(string(raw), "\r\n")
		if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" ||
			len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return nil, fmt.Errorf("%q is not an SMTP reply", text.Clip(line, mostQuoted))
		}
		if line[:3] != code {
			return nil, replyError{line, code}
		}
		text := ""
		if len(line) > 4 {
			text = line[4:]
		}
		out = append(out, text)
		if len(line) == 3 || line[3] == ' ' {
			return out, nil
		}
		if len(out) == maxReply {
			return nil, fmt.Errorf("a reply with more than %d lines", maxReply)
		}
	}
}

// mostQuoted bounds how much of a peer's text an error shows, in octets.
const mostQuoted = 200
