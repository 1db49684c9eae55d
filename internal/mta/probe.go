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
)

// Bounds of what comes from the other side.
const (
	stepPatience = 10 * time.Second // for each step of the dialogue
	maxReplyLine = 2048             // octets, RFC 5321 4.5.3.1.5 asks for 512
	maxReply     = 100              // lines
)

// Served is what a listener shows.
type Served struct {
	Addr    string
	Banner  string // the text of its 220
	Offered bool   // STARTTLS stands in its EHLO reply
	Leaf    *x509.Certificate
	Refused bool // nobody listens
	Err     error
}

// Probe connects, says EHLO and STARTTLS (RFC 3207), looks at the certificate
// and says QUIT. It trusts nothing that it sees. Every step has a deadline.
func Probe(ctx context.Context, addr, helo string) Served {
	s, _ := look(ctx, addr, helo, &tls.Config{})
	return s
}

// session is what look learns beside Served.
type session struct {
	remote string // the address that answered, "" when none did
	state  tls.ConnectionState
	alert  error // what the other side answered to our QUIT, when it was a TLS alert
}

// look is Probe with the TLS configuration of the caller. Whom to trust is
// never decided during the handshake: an expired or self-signed certificate
// must be seen too. Nothing is sent but QUIT.
func look(ctx context.Context, addr, helo string, conf *tls.Config) (Served, session) {
	s, ses := Served{Addr: addr}, session{}
	d := net.Dialer{Timeout: stepPatience}
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
	conf.InsecureSkipVerify, conf.MinVersion = true, tls.VersionTLS10
	if s.Err = s.dialogue(ctx, conn, helo, conf, &ses); s.Err != nil {
		s.Err = fmt.Errorf("%s: %w", addr, s.Err)
		if ctx.Err() != nil {
			s.Err = fmt.Errorf("%w: %w", s.Err, ctx.Err())
		}
	}
	return s, ses
}

func (s *Served) dialogue(ctx context.Context, conn net.Conn, helo string, conf *tls.Config, ses *session) error {
	step := func() { // the context's own end is kept: it may have come already
		if ctx.Err() == nil {
			conn.SetDeadline(time.Now().Add(stepPatience))
		}
	}
	r := bufio.NewReaderSize(conn, maxReplyLine)
	say := func(line string) error {
		step()
		_, err := conn.Write([]byte(line + "\r\n"))
		return err
	}
	step()
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
		return errors.New("STARTTLS: more was sent than the reply")
	}
	step()
	tc := tls.Client(conn, conf)
	if err := tc.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("%w: %w", errHandshake, err)
	}
	ses.state = tc.ConnectionState()
	if cs := ses.state.PeerCertificates; len(cs) > 0 {
		s.Leaf = cs[0]
	}
	step()
	if _, err := tc.Write([]byte("QUIT\r\n")); err == nil {
		// Under TLS 1.3 a server refuses a client's certificate only now.
		_, err = readReply(bufio.NewReaderSize(tc, maxReplyLine), 221)
		var op *net.OpError
		if errors.As(err, &op) && op.Op == "remote error" {
			ses.alert = op.Err
		}
	}
	if s.Leaf == nil {
		return fmt.Errorf("%w: no certificate was shown", errHandshake)
	}
	return nil
}

var errHandshake = errors.New("TLS handshake")

// replyError is a well-formed reply with another code than was hoped for.
type replyError struct{ line, want string }

func (e replyError) Error() string { return fmt.Sprintf("reply %q, want %s", clip(e.line), e.want) }

// readReply reads one SMTP reply (RFC 5321 4.2.1) and gives its lines without
// the code; at least one. Another code than want is an error.
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
		if len(line) < 3 || strings.Trim(line[:3], "0123456789") != "" || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
			return nil, fmt.Errorf("%q is no SMTP reply", clip(line))
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
			return nil, fmt.Errorf("a reply of more than %d lines", maxReply)
		}
	}
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "..."
	}
	return s
}
