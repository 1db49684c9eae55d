package mta

import (
	"context"
	"crypto/tls"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"time"

	"mailcertd/internal/command"
	"mailcertd/internal/pki"
	"mailcertd/internal/text"
)

// credentials are the files of our pair for the openssl command, which gets their names as arguments, never their
// content. With empty names it presents no certificate.
type credentials struct{ cert, key string }

// everything are the options with which s_client accepts everything that OpenSSL 1.1.1 and later can do with a server
// certificate of this key family, "" for any: at security level 0 it accepts any key size and TLS 1.0.
func everything(family string) []string {
	ciphers, algorithms := "ALL", []string(nil)
	if family != "" {
		ciphers = "a" + strings.ToUpper(family)
		schemes := []string{strings.ToUpper(family)}
		if family == "rsa" {
			schemes = []string{"RSA-PSS", "RSA"}
		}
		var list []string
		for _, scheme := range schemes {
			for _, hash := range []string{"SHA256", "SHA384", "SHA512"} {
				list = append(list, scheme+"+"+hash)
			}
		}
		algorithms = []string{"-sigalgs", strings.Join(append(list, strings.ToUpper(family)+"+SHA1"), ":")}
	}
	return append([]string{"-cipher", ciphers + ":!aNULL:!eNULL:@SECLEVEL=0", "-min_protocol", "TLSv1",
		"-legacy_server_connect"}, algorithms...)
}

// exactNames makes OpenSSL print the names of CAs in the form of exactName, in which different names never look the
// same.
const exactNames = "sep_comma_plus,dump_all,dump_der,oid"

// exactName is a distinguished name in OpenSSL's form for exactNames: OID=#DER, joined by commas, and by plus signs
// within one RDN. It is "" for bytes that are not a name.
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

// errNoOpenSSL says that there is no openssl command on this host.
var errNoOpenSSL = errors.New("there is no openssl command")

// byOpenSSL is a shaker that runs openssl-s_client(1) over the present connection: s_client connects to a socket of
// ours, and its bytes are passed on. It runs without a terminal, so that it cannot ask for the passphrase of an
// encrypted key. Where there is no openssl it returns errNoOpenSSL and has not used the connection.
func byOpenSSL(name string, own credentials, family string) shaker {
	return func(ctx context.Context, conn net.Conn, s *Served, ses *session) error {
		program, err := exec.LookPath("openssl")
		if err != nil {
			return fmt.Errorf("%w: %w: %w", errHandshake, errNoOpenSSL, err)
		}
		said, err := tunnel(ctx, conn, func(socket string) (command.Said, error) {
			argv := append([]string{program, "s_client", "-unix", socket, "-showcerts", "-nameopt", exactNames,
				"-crlf"}, everything(family)...)
			if !ses.atOnce { // with TLS at once it must end by its Q command, not wait for a late greeting
				argv = append(argv, "-ign_eof")
			}
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

// tunnel lets a program use conn through a socket that only this user can reach.
func tunnel(ctx context.Context, conn net.Conn, use func(socket string) (command.Said, error)) (command.Said, error) {
	m, err := newMeeting()
	if err != nil {
		return command.Said{}, err
	}
	defer m.close()
	within(ctx, conn, handshakePatience)
	var passing sync.WaitGroup
	passing.Go(func() {
		c, err := m.Accept()
		if err != nil {
			return // the program has not connected
		}
		m.close() // no second connection is expected, and a kill later leaves no directory behind
		var ends sync.WaitGroup
		pass := func(to, from net.Conn) {
			_, _ = io.Copy(to, from)
			_ = conn.SetDeadline(time.Unix(1, 0)) // when one side ends, end the other too
			c.Close()
		}
		ends.Go(func() { pass(c, conn) })
		ends.Go(func() { pass(conn, c) })
		ends.Wait()
	})
	said, err := use(m.socket())
	m.close()
	_ = conn.SetDeadline(time.Unix(1, 0))
	passing.Wait()
	return said, err
}

// read parses the output of s_client; err is its exit status.
func (ses *session) read(said command.Said, err error) error {
	text := string(said.Out)
	suite := newCipher().FindStringSubmatch(text)
	if suite == nil || suite[2] == "(NONE)" {
		if why := opensslReason(string(said.Err)); why != "" {
			return errors.New(why)
		} else if err != nil {
			return fmt.Errorf("%w: %s", err, firstLine(string(said.Err)))
		}
		return errors.New("there was no TLS connection")
	}
	ses.cipher = suite[2]
	version := suite[1] // the version of the cipher, unless a session says more
	if p := protocol().FindStringSubmatch(text); p != nil {
		version = p[1]
	}
	ses.state.Version = map[string]uint16{"TLSv1": tls.VersionTLS10, "TLSv1.0": tls.VersionTLS10,
		"TLSv1.1": tls.VersionTLS11,
		"TLSv1.2": tls.VersionTLS12, "TLSv1.3": tls.VersionTLS13}[version]
	ses.asked = strings.Contains(text, "\nRequested Signature Algorithms:") ||
		strings.Contains(text, "\nClient Certificate Types:")
	for rest := said.Out; ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			break
		}
		if b.Type != "CERTIFICATE" {
			continue // such as a session
		}
		c, err := pki.ParseCertificate(b.Bytes) // crypto/x509 may refuse it
		if err != nil && len(ses.state.PeerCertificates) == 0 {
			return fmt.Errorf("the certificate that it presents cannot be read: %w", err)
		} else if err != nil {
			break // the leaf is enough
		}
		ses.state.PeerCertificates = append(ses.state.PeerCertificates, c)
	}
	if len(ses.state.PeerCertificates) == 0 {
		return errors.New("it presented no certificate")
	}
	if _, list, ok := strings.Cut(text, "\nAcceptable client certificate CA names\n"); ok {
		for line := range strings.SplitSeq(list, "\n") {
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
	newCipher = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^New, ([^,\n]+), Cipher is (\S+)`)
	})
	protocol = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^ *Protocol *: *(TLSv[0-9.]+)`) })
)

// opensslReason is the reason in the first line of OpenSSL's error queue (ERR_error_string(3):
// error:CODE:LIBRARY:FUNCTION:REASON); "" for none.
func opensslReason(said string) string {
	for line := range strings.SplitSeq(said, "\n") {
		_, e, ok := strings.Cut(line, "error:")
		if f := strings.Split(e, ":"); ok && len(f) >= 4 {
			return text.Clip(f[3], mostQuoted)
		}
	}
	return ""
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return text.Clip(line, mostQuoted)
}
