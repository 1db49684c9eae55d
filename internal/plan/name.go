package plan

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// nameSettles is how long a changed system host name must last before it is
// certified without anyone's asking.
const nameSettles = 24 * time.Hour

// HostName is the name to certify and whether somebody configured it (in
// mailcertd.yaml or as rc.conf's sendmail_cert_cn). "" when it is unusable.
func HostName(cfg config.Config, h Host) (name string, configured bool) {
	switch {
	case cfg.Host.Name != "":
		name, configured = cfg.Host.Name, true
	case h.RC != "":
		name, configured = h.RC, true
	default:
		name = h.System
	}
	name = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(name), "."))
	if !UsableName(name) {
		return "", configured
	}
	return name, configured
}

// UsableName says that a certificate for name makes sense: not empty, not
// localhost, and made of host name characters (RFC 1123, at most 253 octets).
func UsableName(name string) bool { return NameError(name) == nil }

// NameError is why a certificate for name makes no sense; nil: it does.
func NameError(name string) error {
	switch {
	case name == "":
		return errors.New("it is empty")
	case len(name) > 253:
		return fmt.Errorf("it has %d characters, want at most 253", len(name))
	case name == "localhost" || strings.HasPrefix(name, "localhost."):
		return errors.New("every host is localhost")
	case net.ParseIP(name) != nil:
		return errors.New("it is an address")
	}
	for _, label := range strings.Split(name, ".") {
		switch {
		case label == "":
			return errors.New("there is nothing between two dots, or at an end")
		case len(label) > 63:
			return fmt.Errorf("a part has %d characters, want at most 63 between dots", len(label))
		case label[0] == '-' || label[len(label)-1] == '-':
			return errors.New("a part begins or ends with a dash")
		}
		for _, r := range label {
			if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_' {
				return fmt.Errorf("it has %q: want small letters, digits, dots, dashes and underscores; an international name in its xn-- form", r)
			}
		}
	}
	return nil
}

func (a *assessment) nameProblems(p *Plan) {
	switch {
	case a.name == "":
		got := a.cfg.Host.Name
		if got == "" {
			got = a.obs.Host.RC
		}
		if got == "" {
			got = a.obs.Host.System
		}
		p.report(Problem{Reason: NameUnusable, Severity: Error,
			Text: "the host name is " + quoted(got) + ": no certificate can be issued for it",
			Hint: "set the host name (sysrc hostname=…) or host.name in mailcertd.yaml"})
	case !strings.Contains(a.name, "."):
		p.report(Problem{Reason: NameUnqualified, Severity: Warning,
			Text: "the host name " + quoted(a.name) + " has no domain: peers cannot check it",
			Hint: "set a qualified host name or host.name in mailcertd.yaml"})
	}
	if a.fromCfg || a.name == "" {
		p.State.Name = state.NameSeen{}
		return
	}
	if a.leaf == nil || !a.owner.mine() || a.covers(a.leaf) {
		p.State.Name = state.NameSeen{}
		return
	}
	if p.State.Name.Name != a.name {
		p.State.Name = state.NameSeen{Name: a.name, Since: a.now.UTC().Truncate(time.Second)}
	}
	since := p.State.Name.Since
	if !a.nameSettled() {
		p.lookAt(since.Add(nameSettles), "host name has lasted a day")
		p.report(Problem{Reason: NameChanged, Severity: Warning, Path: a.obs.Certs.Cert.Node.Path,
			Text: "the host is called " + a.name + " now, the certificate is for " + strings.Join(CertNames(a.leaf), ", "),
			Hint: "it is issued anew when the name has lasted a day; `mailcertd renew` does it now"})
	}
}

// nameSettled says that the wanted names may replace others: configured ones
// at once, the system's after a day or when somebody asked.
func (a *assessment) nameSettled() bool {
	if a.fromCfg || a.wish.Renew || a.wish.Rekey {
		return true
	}
	seen := a.obs.State.Name
	return seen.Name == a.name && !seen.Since.IsZero() && a.now.Sub(seen.Since) >= nameSettles
}

// covers says that c is for exactly the wanted names. One without a SAN is
// judged by its CN: certificates made by hand have none.
func (a *assessment) covers(c *x509.Certificate) bool {
	if !pki.HasSAN(c) {
		return strings.EqualFold(c.Subject.CommonName, a.name)
	}
	want, got := slices.Clone(a.names), CertNames(c)
	for i := range want {
		want[i] = pki.CanonicalName(want[i])
	}
	slices.Sort(want)
	slices.Sort(got)
	return slices.Equal(slices.Compact(want), slices.Compact(got))
}

// CertNames are the names that a certificate is for; a name with nothing in it
// where it has none.
func CertNames(c *x509.Certificate) []string {
	if names := pki.CertNames(c); len(names) > 0 {
		return names
	}
	return []string{""}
}

func quoted(s string) string {
	if s == "" {
		return "empty"
	}
	return `"` + s + `"`
}
