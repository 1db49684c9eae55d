package mta

import (
	"bufio"
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseCF(t *testing.T) {
	cf := ParseCF([]byte("V10/Berkeley\n" +
		"# O ServerCertFile=/comment\n" +
		"O ServerCertFile=/etc/mail/certs/host.cert,/etc/mail/certs/ecdsa.cert\r\n" +
		"O serverkeyfile = /etc/mail/certs/host.key,/etc/mail/certs/ecdsa.key\n" +
		"O CACertFile=/etc/mail/certs/cacert.pem\nO CACertPath=/etc/mail/certs\nO " +
		"DHParameters=/etc/mail/certs/dh.param\n" +
		"O DontBlameSendmail=GroupReadableKeyFile,\n\tGroupWritableDirPathSafe\n" +
		"O DaemonPortOptions=Name=MTA, Addr=192.0.2.1, M=Ea\n" +
		"O DaemonPortOptions=Family=inet6, Port=587\n" +
		"O DaemonPortOptions=Name=TLS, Port=smtps, M=s\n" +
		"O DaemonPortOptions=Name=local, Family=local, Addr=/var/run/sock\n" +
		"O PidFile=/var/run/own.pid\nO RunAsUser=mail:mail\nO TrustedUser=smmsp\nSfoo\nR$*\t$@ O PidFile=/no\n"))
	want := CF{ServerCert: []string{"/etc/mail/certs/host.cert", "/etc/mail/certs/ecdsa.cert"},
		ServerKey: []string{"/etc/mail/certs/host.key", "/etc/mail/certs/ecdsa.key"},
		CACert:    "/etc/mail/certs/cacert.pem", CACertPath: "/etc/mail/certs", DH: "/etc/mail/certs/dh.param",
		DontBlame: []string{"groupreadablekeyfile", "groupwritabledirpathsafe"}, PidFile: "/var/run/own.pid",
		RunAsUser: "mail:mail", TrustedUser: "smmsp",
		Listeners: []Listener{{Name: "MTA", Family: "inet", Addr: "192.0.2.1", Port: "smtp", Modifiers: "Ea"},
			{Family: "inet6", Port: "587"},
			{Name: "TLS", Family: "inet", Port: "smtps", Modifiers: "s"},
			{Name: "local", Family: "local", Addr: "/var/run/sock", Port: "smtp"}}}
	if diff := cmp.Diff(want, cf); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]Endpoint{{Addr: "192.0.2.1:25"}, {Addr: "[::1]:587"}, {"127.0.0.1:465", true}},
		cf.Endpoints()); diff != "" {
		t.Errorf("probe (-want +got):\n%s", diff)
	}
	if got := ParseCF(nil); got.PidFile != DefaultPidFile ||
		!cmp.Equal(got.Endpoints(), []Endpoint{{Addr: "127.0.0.1:25"}}) {
		t.Errorf("defaults: %+v", got)
	}
}

func TestPidFile(t *testing.T) {
	for _, c := range []struct {
		text string
		pid  int
		argv int
		ok   bool
	}{
		{"123\n/usr/sbin/sendmail -bd -q30m\n", 123, 3, true}, {"123\n/usr/sbin/sendmail -bd", 123, 2, true},
		{"123", 123, 0, true},
		{"", 0, 0, false}, {"0\nx", 0, 0, false}, {"1\nx", 0, 0, false}, {"-5\nx", 0, 0, false},
		{"99999999999\nx", 0, 0, false}, {"abc\n", 0, 0, false},
	} {
		pid, argv, err := parsePidFile([]byte(c.text))
		if pid != c.pid || len(argv) != c.argv || (err == nil) != c.ok {
			t.Errorf("%q: %d %v %v", c.text, pid, argv, err)
		}
	}
	for line, want := range map[string]struct {
		daemon, foreground bool
		cf                 string
	}{
		"sendmail -L sm-mta -bd -q30m": {daemon: true}, "sendmail -q30m": {},
		"/usr/libexec/sendmail/smtpd": {daemon: true}, "sendmail -b D": {daemon: true, foreground: true},
		"sendmail -bD -C /x.cf": {daemon: true, foreground: true, cf: "/x.cf"},
		"sendmail -C/y.cf -bd":  {daemon: true, cf: "/y.cf"}, "sendmail -C": {}, "": {},
	} {
		argv := strings.Fields(line)
		if listens(argv) != want.daemon || foreground(argv) != want.foreground || configFile(argv) != want.cf {
			t.Errorf("%q: %v %v %q", line, listens(argv), foreground(argv), configFile(argv))
		}
	}
}

// Endpoints returns where the daemon can be asked: first the ports with STARTTLS, then those with TLS from the
// beginning.
func TestEndpoints(t *testing.T) {
	for options, want := range map[string][]Endpoint{
		"Name=TLS, Port=smtps, M=s":             {{"127.0.0.1:465", true}},
		"Port=465, M=Es | Port=587, M=Ea":       {{"127.0.0.1:587", false}, {"127.0.0.1:465", true}},
		"M=S":                                   nil,
		"M=S | Family=inet6, Addr=::1, Port=25": {{"[::1]:25", false}},
		"Family=local, Addr=/var/run/sm.sock":   nil,
		// The name of a port comes from services(5).
		"Port=imap2":                                    {{"127.0.0.1:143", false}},
		"Port=no-such-service":                          nil,
		"Addr=IPv6:2001:db8::1, Family=inet6":           {{"[2001:db8::1]:25", false}},
		"Addr=mail.example.org | Addr=mail.example.org": {{"mail.example.org:25", false}},
		"Port=0":     nil,
		"Port=-1":    nil,
		"Port=70000": nil,
	} {
		var text strings.Builder
		for o := range strings.SplitSeq(options, " | ") {
			text.WriteString("O DaemonPortOptions=" + o + "\n")
		}
		if diff := cmp.Diff(want, ParseCF([]byte(text.String())).Endpoints()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", options, diff)
		}
	}
}

// script starts a server that sends these lines, one after each line that it receives.
func script(t *testing.T, lines ...string) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for i, line := range lines {
			if i > 0 {
				if _, err := r.ReadString('\n'); err != nil {
					return
				}
			}
			_, _ = c.Write([]byte(line))
		}
		if len(lines) > 0 {
			_, _ = r.ReadString('\n')
		}
	}()
	return l.Addr().String()
}

// Whatever program answers on port 25, it cannot make the probe hang or panic, or make it believe a lie.
func TestProbeUntrusted(t *testing.T) {
	long := strings.Repeat("x", 5000)
	for name, c := range map[string]struct {
		lines   []string
		offered bool
		err     string
	}{
		"no STARTTLS":   {[]string{"220 hi\r\n", "250-hi\r\n250 SIZE\r\n", "221 bye\r\n"}, false, ""},
		"refuses":       {[]string{"554 go away\r\n"}, false, "greeting: reply"},
		"garbage":       {[]string{"hello there\r\n"}, false, "is not an SMTP reply"},
		"closes":        {nil, false, "EOF"},
		"long line":     {[]string{"220 " + long + "\r\n"}, false, "longer than"},
		"endless reply": {[]string{strings.Repeat("220-x\r\n", 200)}, false, "more than 100 lines"},
		"STARTTLS refused": {[]string{"220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n", "454 not now\r\n"}, true,
			"STARTTLS: reply"},
		"injects": {[]string{"220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n", "220 go\r\n250 injected\r\n"}, true,
			"it sent more"},
		"no TLS after that": {[]string{"220 hi\r\n", "250-hi\r\n250 STARTTLS\r\n", "220 go\r\n", "hello\r\n"}, true,
			"TLS handshake"},
		"half a line": {[]string{"220 hi"}, false, "i/o timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
			defer cancel()
			s := Probe(ctx, Endpoint{Addr: script(t, c.lines...)}, "probe.example.org", "")
			if s.Offered != c.offered || c.err == "" && s.Err != nil ||
				c.err != "" && (s.Err == nil || !strings.Contains(s.Err.Error(), c.err)) {
				t.Errorf("%+v", s)
			}
		})
	}
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	l.Close()
	if s := Probe(context.Background(), Endpoint{Addr: l.Addr().String()}, "x", ""); !s.Refused {
		t.Errorf("no program listens: %+v", s)
	}
}

// The probe returns a certificate whoever has signed it.
func TestProbeSees(t *testing.T) {
	cert := testPair(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		for _, line := range []string{"220-two\r\n220 lines\r\n", "250-hi\r\n250-SIZE\r\n250 starttls\r\n",
			"220 go\r\n"} {
			_, _ = c.Write([]byte(line))
			if line != "220 go\r\n" {
				_, _ = r.ReadString('\n')
			}
		}
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		_, _ = bufio.NewReader(tc).ReadString('\n')
		_, _ = tc.Write([]byte("221 bye\r\n"))
	}()
	s := Probe(context.Background(), Endpoint{Addr: l.Addr().String()}, "probe.example.org", "")
	if s.Err != nil || s.Leaf == nil || s.Leaf.SerialNumber.Int64() != 77 || s.Banner != "two" {
		t.Errorf("%+v", s)
	}
}

// Each reply has one code on all lines, is bounded in length, and is never returned in part.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"220 hi\r\n", "250-a\r\n250 b\r\n", "250\r\n", "2x0 a\n", "250-a\r\n220 b\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lines, err := readReply(bufio.NewReaderSize(strings.NewReader(s), maxReplyLine), 250)
		if err == nil && (len(lines) == 0 || len(lines) > maxReply || !strings.HasPrefix(s, "250")) {
			t.Fatalf("%q: %q", s, lines)
		}
	})
}

// Every address that is returned can be dialled in the form in which it is returned.
func FuzzCF(f *testing.F) {
	f.Add("O DaemonPortOptions=Name=MTA, Family=inet6, Addr=::1, Port=25\nO ServerCertFile=a,b\n")
	f.Fuzz(func(t *testing.T, s string) {
		cf := ParseCF([]byte(s))
		if cf.PidFile == "" || len(cf.Listeners) == 0 {
			t.Fatalf("%+v", cf)
		}
		for _, e := range cf.Endpoints() {
			if _, _, err := net.SplitHostPort(e.Addr); err != nil {
				t.Fatalf("%q: %v", e.Addr, err)
			}
		}
		_ = Judge(cf, Files{})
	})
}

// A returned pid can be signalled safely: it is never 0, 1 or a process group.
func FuzzPidFile(f *testing.F) {
	f.Add("123\n/usr/sbin/sendmail -bd -C x\n")
	f.Add("-1\nx")
	f.Fuzz(func(t *testing.T, s string) {
		pid, argv, err := parsePidFile([]byte(s))
		if err == nil && pid < 2 {
			t.Fatalf("%q gives %d", s, pid)
		}
		listens(argv)
		configFile(argv)
		_, _ = mailer([]byte(s), "sendmail")
	})
}
