package mta

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mailcertd/internal/openssltest"
	"mailcertd/internal/pki"
)

// behindSMTP starts a server that speaks SMTP up to STARTTLS and then connects the client with a real `openssl
// s_server` with these arguments. It returns the address.
func behindSMTP(t *testing.T, serverArgs ...string) string {
	t.Helper()
	tlsAddr := openssltest.Server(t, serverArgs...)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	serve := func(c net.Conn) {
		defer c.Close()
		r := bufio.NewReader(c)
		for _, line := range []string{"220 hi ESMTP\r\n", "250-hi\r\n250 STARTTLS\r\n", "220 go\r\n"} {
			_, _ = io.WriteString(c, line)
			if line[:6] != "220 go" {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
		}
		s, err := net.Dial("tcp", tlsAddr)
		if err != nil {
			return
		}
		defer s.Close()
		ended := make(chan struct{}, 2)
		pass := func(to net.Conn, from io.Reader, deadline func(time.Time) error) {
			defer func() { ended <- struct{}{} }()
			buf := make([]byte, 16<<10)
			silence := 10 * time.Second // a busy machine may start the client's openssl late
			for {
				_ = deadline(time.Now().Add(silence)) // no reply 221 comes, so a timeout ends the connection
				n, err := from.Read(buf)
				if n > 0 {
					silence = 3 * time.Second
					_, _ = to.Write(buf[:n])
				}
				if err != nil {
					return
				}
			}
		}
		go pass(s, r, c.SetReadDeadline)
		go pass(c, s, s.SetReadDeadline)
		<-ended
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return l.Addr().String()
}

// The probe sees every certificate that OpenSSL's own client sees.
func TestProbeSeesWhatOpenSSLSees(t *testing.T) {
	openssltest.Need(t)
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	file := func(n string) string { return filepath.Join(dir, n) }
	pair := func(n string, args ...string) {
		t.Helper()
		run(
			append([]string{"req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=" + n, "-keyout", file(n + ".key"),
				"-out", file(n + ".pem")}, args...)...)
	}
	pair("rsa", "-newkey", "rsa:2048")
	pair("rsa1024", "-newkey", "rsa:1024")
	pair("ed448", "-newkey", "ed448")
	pair("below", "-newkey", "rsa:2048", "-set_serial", "-5")
	run("dhparam", "-dsaparam", "-out", file("dh"), "2048")
	for _, subject := range []string{"/O=Te, st+OU=x/CN=\"odd\" \xc3\xa9", "/CN=a"} {
		pair("name", "-newkey", "rsa:1024", "-utf8", "-multivalue-rdn", "-subj", subject)
		out, err := exec.Command("openssl", "x509", "-in", file("name.pem"), "-noout", "-issuer", "-nameopt",
			exactNames).Output()
		b, _ := os.ReadFile(file("name.pem"))
		p, _ := pem.Decode(b)
		c, perr := x509.ParseCertificate(p.Bytes)
		if err != nil || perr != nil || "issuer="+exactName(c.RawIssuer) != strings.TrimSpace(string(out)) {
			t.Errorf("%v %v: %s, want %s", err, perr, exactName(c.RawIssuer), out)
		}
	}
	for name, c := range map[string]struct {
		pair   string
		args   []string
		openly bool // Go alone cannot see it
		err    string
	}{
		"ECDHE":   {"rsa", []string{"-tls1_2", "-cipher", "ECDHE"}, false, ""},
		"TLS 1.3": {"rsa", []string{"-tls1_3"}, false, ""},
		"DHE": {"rsa", []string{"-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384", "-dhparam",
			file("dh")}, true, ""},
		"RSA key exchange":    {"rsa", []string{"-tls1_2", "-cipher", "AES256-GCM-SHA384"}, false, ""},
		"CBC and SHA-256":     {"rsa", []string{"-tls1_2", "-cipher", "AES256-SHA256"}, true, ""},
		"TLS 1.0":             {"rsa", []string{"-tls1", "-cipher", "DEFAULT@SECLEVEL=0"}, false, ""},
		"RSA 1024":            {"rsa1024", []string{"-tls1_2", "-cipher", "DEFAULT@SECLEVEL=0"}, false, ""},
		"Ed448":               {"ed448", nil, true, ""},
		"a serial below 0":    {"below", nil, true, ""},
		"no cipher in common": {"rsa", []string{"-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"}, false, "openssl s_client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := Endpoint{Addr: behindSMTP(t,
				append([]string{"-cert", file(c.pair + ".pem"), "-key", file(c.pair + ".key")}, c.args...)...)}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			s := Probe(ctx, addr, "probe.example.org", "")
			g, _ := look(ctx, addr, "probe.example.org", byGo(&tls.Config{}, ""))
			o, ses := look(ctx, addr, "probe.example.org", byOpenSSL("", credentials{}, ""))
			if c.err != "" {
				if !s.Offered || !s.Unseen() || !errors.Is(s.Err, errHandshake) ||
					!strings.Contains(s.Err.Error(), c.err) {
					t.Errorf("%+v", s)
				}
				return
			}
			if s.Err != nil || s.Leaf == nil || s.Leaf.Subject.CommonName != c.pair || c.openly != (g.Err != nil) ||
				o.Leaf == nil || !o.Leaf.Equal(s.Leaf) || ses.cipher == "" || ses.state.Version == 0 {
				t.Errorf("%+v, by openssl: %+v, %q, version %x", s, o, ses.cipher, ses.state.Version)
			}
			if n := len(ses.state.PeerCertificates); n != 1 {
				t.Errorf("a chain of %d", n)
			}
		})
	}
	for name, args := range map[string][]string{"at once": nil,
		"TLS from the beginning, DHE": {"-tls1_2", "-cipher", "DHE", "-dhparam", file("dh")}} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"-cert", file("rsa.pem"), "-key", file("rsa.key")}, args...)
			at := Endpoint{openssltest.Server(t, args...), true}
			// The path is too long for a socket.
			t.Setenv("TMPDIR", filepath.Join(dir, strings.Repeat("a-long-name/", 9)))
			if err := os.MkdirAll(os.Getenv("TMPDIR"), 0o700); err != nil {
				t.Fatal(err)
			}
			s := Served{Refused: true}
			for until := time.Now().Add(10 * time.Second); s.Refused &&
				time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
				s = Probe(t.Context(), at, "probe.example.org", "")
			}
			if s.Err != nil || !s.Offered || s.Leaf == nil || s.Leaf.Subject.CommonName != "rsa" {
				t.Errorf("%+v", s)
			}
		})
	}
	t.Run("our certificate", func(t *testing.T) {
		t.Parallel()
		addr := Endpoint{Addr: behindSMTP(t, "-cert", file("rsa.pem"), "-key", file("rsa.key"), "-tls1_2", "-cipher",
			"DHE", "-dhparam", file("dh"), "-verify", "3")}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		s, ses := look(ctx, addr, "probe.example.org",
			byOpenSSL("", credentials{cert: file("rsa1024.pem"), key: file("rsa1024.key")}, ""))
		if s.Err != nil || !ses.asked || !ses.presented || s.Leaf == nil || s.Leaf.Subject.CommonName != "rsa" {
			t.Errorf("%+v %+v", s, ses)
		}
	})
}

// check --peer sees and judges a peer that offers only DHE or RSA key exchange, at the security level of our own
// handshakes.
func TestPeerWithOddCiphers(t *testing.T) {
	dir := t.TempDir()
	file := func(n string) string { return filepath.Join(dir, n) }
	for _, args := range [][]string{
		{"req", "-x509", "-nodes", "-newkey", "rsa:1024", "-days", "2", "-subj", "/CN=peer", "-addext",
			"subjectAltName=IP:127.0.0.1", "-keyout", file("k"), "-out", file("c")},
		{"dhparam", "-dsaparam", "-out", file("dh"), "2048"},
	} {
		if out, err := exec.Command("openssl", args...).CombinedOutput(); err != nil {
			t.Fatalf("openssl: %v\n%s", err, out)
		}
	}
	b, err := os.ReadFile(file("c"))
	if err != nil {
		t.Fatal(err)
	}
	own := pki.ReadCertFile(b).Certs
	for _, c := range []struct {
		cipher string
		level  int
		want   string
	}{{"DHE-RSA-AES256-GCM-SHA384", 1, ""}, {"AES256-GCM-SHA384", 1, ""}, {"AES256-GCM-SHA384", 2, weakLeafKey}} {
		host, port, _ := net.SplitHostPort(behindSMTP(t, "-cert", file("c"), "-key", file("k"), "-tls1_2", "-cipher",
			c.cipher+":@SECLEVEL=0", "-dhparam", file("dh")))
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		r := Peer(ctx, PeerOptions{Host: host, Port: port, HELO: "probe.example.org", Trusted: own, Now: time.Now(),
			Libssl: pki.Libssl{}.AtLevel(c.level)})
		cancel()
		if r.Reason != c.want || (r.Verify == VerifyOK) != (c.want == "") || r.CipherName != c.cipher {
			t.Errorf("%+v: verify=%s %q, cipher %s, %v", c, r.Verify, r.Reason, r.CipherName, r.Err)
		}
	}
}

// A mail host waits five minutes for a greeting (RFC 5321 section 4.5.3.2.1), and so does the whole probe.
func TestPatience(t *testing.T) {
	if replyPatience < 5*time.Minute || Patience < replyPatience+handshakePatience {
		t.Error("a sendmail with greet_pause would be called silent")
	}
}
