// Package mta knows sendmail: its sendmail.cf, the rules by which it accepts TLS files, the process that its pid file
// names, how it is sent a HUP, and what it serves.
package mta

import (
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"mailcertd/internal/durable"
	"mailcertd/internal/pki"
)

// The largest sendmail.cf, CA file, and certificate or key that are read, in octets.
const (
	maxCF   = 4 << 20
	maxCAs  = 16 << 20
	maxPair = 1 << 20
)

// DefaultPidFile is the pid file of sendmail on FreeBSD where sendmail.cf does not name one.
const DefaultPidFile = "/var/run/sendmail.pid"

// CF has the settings of a sendmail.cf that concern TLS and the daemon (op.me, section 5.6).
type CF struct {
	Path    string
	Node    durable.Node // without Data
	Missing bool

	ServerCert, ServerKey  []string // the first pair, then the second; see namePairs
	ClientCert, ClientKey  []string
	CACert, CACertPath, DH string // "" where it names none
	Access                 string // the text of the access map; "" where it names none that has one
	AccessClass            string // the class of the access map, such as hash or ldap; "" where it names none
	CRL                    string
	PidFile                string
	CipherList             string   // its @SECLEVEL=N applies to handshakes
	DontBlame              []string // DontBlameSendmail, in lower case
	RunAsUser, TrustedUser string
	Listeners              []Listener
	// CRLNode is the file of CRL; the zero value where the cf names none. Only ReadCF sets it.
	CRLNode durable.Node
	// Second is the second server pair, and Client the pair that sendmail shows as a client where that is not the first
	// server pair; the zero value where there is none. Only ReadCF sets them.
	Second, Client Pair
	// Resolved maps the files and directories that the cf names to their paths without links; of a missing one, only
	// its directory is resolved. Only ReadCF sets it.
	Resolved map[string]string
	Problems []string // lines that sendmail ignores or misreads, and why the cf could not be read
	// CAs is the content of CACertFile, and the directories above it. Only ReadCF sets it.
	CAs CertView
}

// Listener is one DaemonPortOptions.
type Listener struct {
	Name, Family, Addr, Port string // Family in lower case; Addr "" for all
	Modifiers                string // the letters of M=
}

// ReadCF reads a sendmail.cf and the files that it names. argv is the command line of sendmail, see ParseCF. Errors are
// in Problems.
func ReadCF(path string, argv ...string) CF {
	n := durable.Read(path, maxCF)
	cf := CF{}
	switch {
	case n.Err != nil:
		cf = ParseCF(nil, argv...)
		cf.Problems = append(cf.Problems, "cannot be read: "+n.Err.Error())
	case !n.Exists:
		cf = ParseCF(nil, argv...)
		cf.Missing = true
	default:
		cf = ParseCF(n.Data, argv...)
	}
	n.Data = nil
	cf.Path, cf.Node = path, n
	if len(cf.ServerCert) > 1 {
		cf.Second = readPair(cf.ServerCert, cf.ServerKey, 1)
	}
	if !slices.Equal(cf.ClientCert[:min(1, len(cf.ClientCert))], cf.ServerCert[:min(1, len(cf.ServerCert))]) ||
		!slices.Equal(cf.ClientKey[:min(1, len(cf.ClientKey))], cf.ServerKey[:min(1, len(cf.ServerKey))]) {
		cf.Client = readPair(cf.ClientCert, cf.ClientKey, 0)
	}
	if cf.CRL != "" {
		cf.CRLNode = durable.Look(cf.CRL)
	}
	if strings.HasPrefix(cf.CACert, "/") {
		cf.CAs.View = viewOf(cf.CACert, maxCAs)
		if n := cf.CAs.Node; n.Err == nil && n.IsRegular {
			cf.CAs.File = pki.ReadCertFile(n.Data)
		}
		cf.CAs.Node.Data = nil
	}
	cf.Resolved = map[string]string{}
	for _, name := range cf.tlsFiles() {
		if real, err := durable.Resolve(name); err == nil {
			cf.Resolved[name] = real
		} else if dir, err := durable.Resolve(filepath.Dir(name)); err == nil {
			cf.Resolved[name] = filepath.Join(dir, filepath.Base(name))
		}
	}
	return cf
}

func logicalLines(text string) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line != "" && (line[0] == ' ' || line[0] == '\t') && len(out) > 0 {
			out[len(out)-1] += " " + strings.TrimSpace(line)
			continue
		}
		out = append(out, line)
	}
	return out
}

// option sets one option. m are the macros as they are at that line, because sendmail expands paths when it reads them.
func (cf *CF) option(name, value string, m macros) {
	switch name {
	case "ServerCertFile":
		cf.ServerCert = one(m.expand(value))
	case "ServerKeyFile":
		cf.ServerKey = one(m.expand(value))
	case "ClientCertFile":
		cf.ClientCert = one(m.expand(value))
	case "ClientKeyFile":
		cf.ClientKey = one(m.expand(value))
	case "CACertFile":
		cf.CACert = m.expand(value)
	case "CACertPath":
		cf.CACertPath = m.expand(value)
	case "DHParameters":
		cf.DH = m.expand(value)
	case "CRLFile":
		cf.CRL = m.expand(value)
	case "PidFile":
		if value = m.expand(value); value != "" {
			cf.PidFile = value
		}
	case "CipherList":
		cf.CipherList = value
	case "RunAsUser":
		cf.RunAsUser = value
	case "TrustedUser":
		cf.TrustedUser = value
	case "DontBlameSendmail":
		for _, f := range strings.FieldsFunc(value, func(r rune) bool {
			return !unicode.IsLetter(r) && !unicode.IsDigit(r)
		}) {
			cf.DontBlame = append(cf.DontBlame, strings.ToLower(f))
		}
	case "DaemonPortOptions":
		cf.listener(value)
	}
}

// one is a list with the value; nil where that is "".
func one(value string) []string {
	if value == "" {
		return nil
	}
	return []string{value}
}

func (cf *CF) listener(value string) {
	l := Listener{Family: "inet", Port: "smtp"}
	for part := range strings.SplitSeq(value, ",") {
		k, v, ok := strings.Cut(part, "=")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if !ok || k == "" {
			if strings.TrimSpace(part) != "" {
				cf.Problems = append(cf.Problems, "DaemonPortOptions: cannot read "+strconv.Quote(part))
			}
			continue
		}
		switch k[0] { // sendmail compares only the first letter
		case 'N', 'n':
			l.Name = v
		case 'F', 'f':
			l.Family = strings.ToLower(v)
		case 'A', 'a':
			l.Addr = v
		case 'P', 'p':
			l.Port = v
		case 'M', 'm':
			l.Modifiers = v
		}
	}
	cf.Listeners = append(cf.Listeners, l)
}

// blames says whether a DontBlameSendmail flag is set. name is in lower case.
func (cf CF) blames(name string) bool {
	return slices.Contains(cf.DontBlame, name)
}

// ports are service names that sendmail.cf may use and services(5) may lack.
var ports = map[string]string{"smtp": "25", "mail": "25", "submission": "587", "smtps": "465", "submissions": "465"}

// Endpoint is where a listener can be asked for its certificate.
type Endpoint struct {
	Addr string // host:port
	TLS  bool   // TLS begins at once, as on port 465 (RFC 8314); otherwise after STARTTLS
}

// Endpoints returns the addresses at which the daemon can be asked, those with STARTTLS first. For a listener on all
// addresses it is the loopback address. Listeners without STARTTLS (M=S), and those that are not network sockets, are
// left out.
func (cf CF) Endpoints() []Endpoint {
	var out []Endpoint
	for _, atOnce := range []bool{false, true} {
		for _, l := range cf.Listeners {
			e := Endpoint{l.addr(), strings.Contains(l.Modifiers, "s")}
			if e.Addr != "" && e.TLS == atOnce && (e.TLS || !strings.Contains(l.Modifiers, "S")) &&
				!slices.Contains(out, e) {
				out = append(out, e)
			}
		}
	}
	return out
}

// addr is host:port; "" for a listener that is not a network socket.
func (l Listener) addr() string {
	if l.Family != "inet" && l.Family != "inet6" {
		return ""
	}
	port, known := ports[strings.ToLower(l.Port)]
	if !known {
		n, err := net.LookupPort("tcp", l.Port) // a number, or services(5)
		if err != nil || n < 1 {
			return ""
		}
		port = strconv.Itoa(n)
	}
	host := strings.Trim(strings.TrimPrefix(strings.ToLower(l.Addr), "ipv6:"), "[]")
	switch host {
	case "", "0.0.0.0", "::", "*", "any":
		host = "127.0.0.1"
		if l.Family == "inet6" {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}
