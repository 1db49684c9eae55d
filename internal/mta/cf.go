// Package mta knows sendmail: its cf, the rules by which it accepts TLS files,
// the process behind its pid file, the HUP, and what it serves.
package mta

import (
	"net"
	"strconv"
	"strings"

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
	More     []durable.Node
	Problems []string // what could not be read, for people
}

// Listener is one DaemonPortOptions.
type Listener struct {
	Name, Family, Addr, Port string // Family in lower case; Addr "" for all
	Modifiers                string // the letters of M=
}

// ReadCF reads a sendmail.cf; whatever is wrong with it stands in Problems.
func ReadCF(path string) CF {
	n := durable.Read(path, maxCF)
	cf := CF{}
	switch {
	case n.Err != nil:
		cf = ParseCF(nil)
		cf.Problems = append(cf.Problems, "cannot be read: "+n.Err.Error())
	case !n.Exists:
		cf = ParseCF(nil)
		cf.Missing = true
	default:
		cf = ParseCF(n.Data)
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
	return cf
}

// ParseCF reads the option lines (O Name=value) of a sendmail.cf. A line that
// begins with white space goes on with the one before. The last value of an
// option counts; DaemonPortOptions adds up.
func ParseCF(data []byte) CF {
	cf := CF{PidFile: DefaultPidFile}
	for _, line := range logicalLines(string(data)) {
		if !strings.HasPrefix(line, "O ") && !strings.HasPrefix(line, "O\t") {
			continue
		}
		name, value, ok := strings.Cut(line[2:], "=")
		if !ok {
			continue
		}
		cf.option(strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value))
	}
	if len(cf.Listeners) == 0 {
		cf.Listeners = []Listener{{Family: "inet", Port: "smtp"}}
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

func (cf *CF) option(name, value string) {
	switch name {
	case "servercertfile":
		cf.ServerCert = pair(value)
	case "serverkeyfile":
		cf.ServerKey = pair(value)
	case "clientcertfile":
		cf.ClientCert = pair(value)
	case "clientkeyfile":
		cf.ClientKey = pair(value)
	case "cacertfile":
		cf.CACert = value
	case "cacertpath":
		cf.CACertPath = value
	case "dhparameters":
		cf.DH = value
	case "crlfile":
		cf.CRL = value
	case "pidfile":
		if value != "" {
			cf.PidFile = value
		}
	case "runasuser":
		cf.RunAsUser = value
	case "trusteduser":
		cf.TrustedUser = value
	case "dontblamesendmail":
		for _, f := range strings.FieldsFunc(value, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
			cf.DontBlame = append(cf.DontBlame, strings.ToLower(f))
		}
	case "daemonportoptions":
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
