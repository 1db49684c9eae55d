// Package mta knows sendmail: its cf, the rules by which it accepts TLS files,
// the process behind its pid file, the HUP, and what it serves.
package mta

import (
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"mailcertd/internal/durable"
)

// maxCF bounds sendmail.cf, in bytes.
const maxCF = 4 << 20

// DefaultPidFile is where sendmail puts its pid when sendmail.cf does not say
// (FreeBSD).
const DefaultPidFile = "/var/run/sendmail.pid"

// CF is what matters of a sendmail.cf (op.me, section 5.6).
type CF struct {
	Path    string
	Node    durable.Node // without Data
	Missing bool

	ServerCert, ServerKey  []string // two where a comma names a second pair
	ClientCert, ClientKey  []string
	CACert, CACertPath, DH string // "" when it names none
	CRL                    string
	PidFile                string
	DontBlame              []string // DontBlameSendmail, in lower case
	RunAsUser, TrustedUser string
	Listeners              []Listener
	// More are the files that it names beside the ones of the certs directory: a
	// second pair, the CRL. Looked at by ReadCF alone.
	More []durable.Node
	// Resolved are the files and directories that it names, without links: of a
	// missing one as far as its directory is there. Filled by ReadCF alone.
	Resolved map[string]string
	Problems []string // what could not be read, for people
}

// Listener is one DaemonPortOptions.
type Listener struct {
	Name, Family, Addr, Port string // Family in lower case; Addr "" for all
	Modifiers                string // the letters of M=
}

// ReadCF reads a sendmail.cf, with the command line that goes with it (ParseCF);
// whatever is wrong with it stands in Problems.
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
	for _, names := range [][]string{cf.ServerCert, cf.ServerKey} {
		for _, name := range names[min(1, len(names)):] {
			cf.More = append(cf.More, durable.Look(name))
		}
	}
	if cf.CRL != "" {
		cf.More = append(cf.More, durable.Look(cf.CRL))
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
	for _, line := range strings.Split(text, "\n") {
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
		cf.ServerCert = pair(m.expand(value))
	case "ServerKeyFile":
		cf.ServerKey = pair(m.expand(value))
	case "ClientCertFile":
		cf.ClientCert = pair(m.expand(value))
	case "ClientKeyFile":
		cf.ClientKey = pair(m.expand(value))
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
	case "RunAsUser":
		cf.RunAsUser = value
	case "TrustedUser":
		cf.TrustedUser = value
	case "DontBlameSendmail":
		for _, f := range strings.FieldsFunc(value, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			cf.DontBlame = append(cf.DontBlame, strings.ToLower(f))
		}
	case "DaemonPortOptions":
		cf.listener(value)
	}
}

// pair splits "a,b": sendmail 8.15 and later take a second pair.
func pair(value string) []string {
	var out []string
	for _, p := range strings.Split(value, ",") {
		if p = strings.TrimSpace(p); p != "" {
			out = append(out, p)
		}
	}
	return out
}

func (cf *CF) listener(value string) {
	l := Listener{Family: "inet", Port: "smtp"}
	for _, part := range strings.Split(value, ",") {
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
	for _, f := range cf.DontBlame {
		if f == name {
			return true
		}
	}
	return false
}

// ports are the service names that stand in sendmail.cf, services(5).
var ports = map[string]string{"smtp": "25", "mail": "25", "submission": "587", "smtps": "465", "submissions": "465"}

// ProbeAddrs is where the daemon can be asked over STARTTLS, as host:port: the
// loopback address where it listens on all. Listeners that speak TLS at once,
// offer no STARTTLS, or are no network sockets are left out.
func (cf CF) ProbeAddrs() []string {
	var out []string
	seen := map[string]bool{}
	for _, l := range cf.Listeners {
		if strings.ContainsAny(l.Modifiers, "sS") || l.Family != "inet" && l.Family != "inet6" {
			continue
		}
		port := l.Port
		if p, ok := ports[strings.ToLower(port)]; ok {
			port = p
		}
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			continue
		}
		host := strings.Trim(strings.TrimPrefix(strings.ToLower(l.Addr), "ipv6:"), "[]")
		switch host {
		case "", "0.0.0.0", "::", "*", "any":
			host = "127.0.0.1"
			if l.Family == "inet6" {
				host = "::1"
			}
		}
		if a := net.JoinHostPort(host, port); !seen[a] {
			seen[a] = true
			out = append(out, a)
		}
	}
	return out
}
