package mta

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"mailcertd/internal/command"
)

// credentials are the files of our pair, for the openssl command: their names
// stand in its arguments, never their content. Empty: none is presented.
type credentials struct{ cert, key string }

// everything is what OpenSSL's client can do with a server that has a
// certificate, in its releases from 1.1.1 on: at level 0 it takes any key size,
// and TLS 1.0.
var everything = []string{"-cipher", "ALL:!aNULL:!eNULL:@SECLEVEL=0", "-min_protocol", "TLSv1", "-legacy_server_connect"}

// exactNames makes OpenSSL print the CAs that a server lists as exactName does:
// whatever is in them, two names look alike only when they are.
const exactNames = "sep_comma_plus,dump_all,dump_der,oid"

// exactName writes a distinguished name as OpenSSL does with exactNames:
// OID=#DER, joined by commas, within one RDN by plus signs. "" for what is no name.
func exactName(der []byte) string {
	var rdns []asn1.RawValue
	if rest, err := asn1.Unmarshal(der, &rdns); err != nil || len(rest) > 0 {
		return ""
	}
	var parts []string
	for _, rdn := range rdns {
		var values []string
		for rest := rdn.Bytes; len(rest) > 0; {
			var v struct {
				Type  asn1.ObjectIdentifier
				Value asn1.RawValue
			}
			var err error
			if rest, err = asn1.Unmarshal(rest, &v); err != nil {
				return ""
			}
			values = append(values, fmt.Sprintf("%s=#%X", v.Type, v.Value.FullBytes))
		}
		parts = append(parts, strings.Join(values, "+"))
	}
	return strings.Join(parts, ",")
}

// errNoOpenSSL says that the openssl command is not there.
var errNoOpenSSL = errors.New("there is no openssl command")

// byOpenSSL is the shaker that uses openssl-s_client(1), on the connection that is
// there: through a socket of ours, between which and the connection bytes are
// passed on. Its terminal is taken away: an encrypted key would make it ask. It
// leaves the connection alone where there is no openssl.
func byOpenSSL(name string, own credentials) shaker {
	return func(ctx context.Context, conn net.Conn, s *Served, ses *session) error {
		program, err := exec.LookPath("openssl")
		if err != nil {
			return fmt.Errorf("%w: %w: %w", errHandshake, errNoOpenSSL, err)
		}
		said, err := tunnel(ctx, conn, func(socket string) (command.Said, error) {
			argv := append([]string{program, "s_client", "-unix", socket, "-showcerts", "-nameopt", exactNames, "-crlf", "-ign_eof"}, everything...)
			if name != "" {
				argv = append(argv, "-servername", name)
			} else {
				argv = append(argv, "-noservername")
			}
			if own.cert != "" && own.key != "" {
				argv = append(argv, "-cert", own.cert, "-key", own.key)
			}
			return command.Command{Argv: argv, Stdin: []byte("QUIT\n"), Env: []string{"LC_ALL=C"},
				Patience: handshakePatience, Keep: 256 << 10, Session: true}.Run(ctx)
		})
		if ctx.Err() == nil {
			err = ses.read(said, err)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errHandshake, err)
		}
		ses.presented = ses.asked && own.key != ""
		s.Leaf = ses.state.PeerCertificates[0]
		return nil
	}
}

// tunnel lets a program use a connection as if it had made it, by a socket
// that nobody else can reach.
func tunnel(ctx context.Context, conn net.Conn, use func(socket string) (command.Said, error)) (command.Said, error) {
	dir, err := os.MkdirTemp("", "mailcertd-") // 0700
	if err != nil {
		return command.Said{}, err
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		return command.Said{}, err
	}
	defer l.Close()
	within(ctx, conn, handshakePatience)
	var passing sync.WaitGroup
	passing.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return // it never came
		}
		var ends sync.WaitGroup
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_ = conn.SetDeadline(time.Unix(1, 0)) // where one side ends, all ends
			c.Close()
		}
		ends.Go(func() { pass(c, conn) })
		ends.Go(func() { pass(conn, c) })
		ends.Wait()
	})
	said, err := use(filepath.Join(dir, "s"))
	l.Close()
	_ = conn.SetDeadline(time.Unix(1, 0))
	passing.Wait()
	return said, err
}

// read takes what s_client said; err is how it ended.
func (ses *session) read(said command.Said, err error) error {
	text := string(said.Out)
	suite := newCipher.FindStringSubmatch(text)
	if suite == nil || suite[2] == "(NONE)" {
		if why := opensslReason(string(said.Err)); why != "" {
			return errors.New(why)
		} else if err != nil {
			return fmt.Errorf("%w: %s", err, firstLine(string(said.Err)))
		}
		return errors.New("no TLS came about")
	}
	ses.cipher = suite[2]
	version := suite[1] // of the cipher: a session says it better
	if p := protocol.FindStringSubmatch(text); p != nil {
		version = p[1]
	}
	ses.state.Version = map[string]uint16{"TLSv1": tls.VersionTLS10, "TLSv1.0": tls.VersionTLS10, "TLSv1.1": tls.VersionTLS11,
		"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}[version]
	ses.asked = strings.Contains(text, "\nRequested Signature Algorithms:") || strings.Contains(text, "\nClient Certificate Types:")
	for rest := said.Out; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue // a session
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil && len(ses.state.PeerCertificates) == 0 {
			return fmt.Errorf("the certificate that it shows cannot be read: %w", err)
		} else if err != nil {
			break // the leaf counts; what an issuer cannot be read as, is no issuer
		}
		ses.state.PeerCertificates = append(ses.state.PeerCertificates, c)
	}
	if len(ses.state.PeerCertificates) == 0 {
		return errors.New("no certificate was shown")
	}
	if _, list, ok := strings.Cut(text, "\nAcceptable client certificate CA names\n"); ok {
		for _, line := range strings.Split(list, "\n") {
			if !strings.Contains(line, "=#") {
				break
			}
			ses.accepts = append(ses.accepts, line)
		}
	}
	if why := opensslReason(string(said.Err)); strings.Contains(why, "alert") {
		ses.alert = errors.New(why)
	}
	return nil
}

var (
	newCipher = regexp.MustCompile(`(?m)^New, ([^,\n]+), Cipher is (\S+)`)
	protocol  = regexp.MustCompile(`(?m)^ *Protocol *: *(TLSv[0-9.]+)`)
)

// opensslReason is the reason of the first line of OpenSSL's error queue
// (ERR_error_string(3): error:CODE:LIBRARY:FUNCTION:REASON), "" for none.
func opensslReason(text string) string {
	for _, line := range strings.Split(text, "\n") {
		_, e, ok := strings.Cut(line, "error:")
		if f := strings.Split(e, ":"); ok && len(f) >= 4 {
			return clip(f[3])
		}
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return clip(line)
}
