// Package mta knows sendmail: its cf, the rules by which it accepts TLS files,
// the process behind its pid file, the HUP, and what it serves.
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

// Bounds of sendmail.cf, and of the certificates and keys that it names, in bytes.
const (
	maxCF   = 4 << 20
	maxCAs  = 16 << 20
	maxPair = 1 << 20
)

// DefaultPidFile is where sendmail puts its pid when sendmail.cf does not say
// (FreeBSD).
const DefaultPidFile = "/var/run/sendmail.pid"

// CF is what matters of a sendmail.cf (op.me, section 5.6).
type CF struct {
	Path    string
	Node    durable.Node // without Data
	Missing bool

	ServerCert, ServerKey  []string // the second pair's behind the first's; which go together: see namePairs
	ClientCert, ClientKey  []string
	CACert, CACertPath, DH string // "" when it names none
	CRL                    string
	PidFile                string
	CipherList             string   // whose @SECLEVEL=N is in force in handshakes
	DontBlame              []string // DontBlameSendmail, in lower case
	RunAsUser, TrustedUser string
	Listeners              []Listener
	// CRLNode is CRLFile, looked at by ReadCF alone; the zero value where it names none.
	CRLNode durable.Node
	// Second is the second server pair, and Client the client's where it is not the first server pair; the zero value
	// for none. Read by ReadCF alone.
	Second, Client Pair
	// Resolved are the files and directories that it names, without links: of a
	// missing one as far as its directory is there. Filled by ReadCF alone.
	Resolved map[string]string
	Problems []string // what could not be read, for people
	// CAs is CACertFile as it is there, and the directories above it. Filled by ReadCF alone.
	CAs CertView
}

// Listener is one DaemonPortOptions.
type Listener struct {
	Name, Family, Addr, Port string // Family in lower case; Addr "" for all
	Modifiers                string // the letters of M=
}

// ReadCF reads a sendmail.cf, with the command line that goes with it (ParseCF); whatever is wrong with it is in
// Problems.
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
	for _, name := range cf.TLSFiles() {
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

// option takes one option. m are the macros as they are at that line: sendmail
// expands paths when it reads them.
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

// one is a list of the one value, nil for none.
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
		switch k[0] { // sendmail looks at the first letter alone
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

// blames says that a DontBlameSendmail flag is set. name in lower case.
func (cf CF) blames(name string) bool {
	return slices.Contains(cf.DontBlame, name)
}

// ports are the service names that are in sendmail.cf and may be missing in services(5).
var ports = map[string]string{"smtp": "25", "mail": "25", "submission": "587", "smtps": "465", "submissions": "465"}

// Endpoint is where a listener can be asked for its certificate.
type Endpoint struct {
	Addr string // host:port
	TLS  bool   // TLS begins at once, as on port 465 (RFC 8314); else with STARTTLS
}

// Endpoints is where the daemon can be asked: the loopback address where it
// listens on all. Those with STARTTLS come first. Listeners that offer none
// (M=S), or are no network sockets, are left out.
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

// addr is host:port, "" for what is no network socket.
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
