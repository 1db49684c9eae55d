package plan

import (
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"time"

	"mailcertd/internal/config"
	"mailcertd/internal/pki"
	"mailcertd/internal/state"
)

// nameSettles is how long a changed system host name must last before a certificate for it is issued by itself.
const nameSettles = 24 * time.Hour

// hostNames are the names that the certificates of this host are for.
type hostNames struct {
	name    string   // the host name; "" when unusable
	names   []string // the host name and host.altnames; none without a usable host name
	fromCfg bool     // a person configured the host name; it was not taken from the system
}

func namesOf(cfg config.Config, h Host) (n hostNames) {
	n.name, n.fromCfg = HostName(cfg, h)
	if n.name != "" {
		n.names = append([]string{n.name}, cfg.Host.AltNames...)
	}
	return n
}

// covers reports whether c has exactly the wanted names. Without a SAN its CN counts, because many certificates made by
// hand have none.
func (n hostNames) covers(c *x509.Certificate) bool {
	if !pki.HasSAN(c) {
		return strings.EqualFold(c.Subject.CommonName, n.name)
	}
	want, got := slices.Clone(n.names), CertNames(c)
	for i := range want {
		want[i] = pki.CanonicalName(want[i])
	}
	slices.Sort(want)
	slices.Sort(got)
	return slices.Equal(slices.Compact(want), slices.Compact(got))
}

// HostName returns the name to certify and whether a person configured it, in mailcertd.yaml or as rc.conf's
// sendmail_cert_cn; "" when the name is unusable.
func HostName(cfg config.Config, h Host) (name string, configured bool) {
	switch {
	case cfg.Host.Name != "":
		name, configured = cfg.Host.Name, true
	case h.RC != "":
		name, configured = h.RC, true
	case h.RCErr != nil && UsableName(h.Certified): // rc.conf may set another name than the system's
		name = h.Certified
	default:
		name = h.System
	}
	name = pki.CanonicalName(strings.TrimSpace(name))
	if !UsableName(name) {
		return "", configured
	}
	return name, configured
}

// UsableName reports whether name can be certified: not empty, not localhost, and made of host name characters (RFC
// 1123, at most 253 octets).
func UsableName(name string) bool { return NameError(name) == nil }

// NameError is why name cannot be certified; nil: it can.
func NameError(name string) error {
	why := pki.HostNameFault(name)
	if why == "" && name != strings.ToLower(name) {
		why = "has capital letters: must be small ones"
	}
	if why != "" {
		return errors.New("it " + why)
	}
	return nil
}

func nameProblems(a *assessment) (found finding) {
	if err := a.obs.Host.RCErr; err != nil {
		found.report(Problem{Reason: Unreadable, Severity: Warning, Path: "/etc/rc.conf",
			Text: "cannot be read for its sendmail settings: " + err.Error() +
				"; mailcertd uses its earlier values, or else the name in host.cert",
			Hint: "run `sysrc -s sendmail -a` to see what is wrong"})
	}
	switch {
	case a.name == "":
		got := a.cfg.Host.Name
		if got == "" {
			got = a.obs.Host.RC
		}
		if got == "" {
			got = a.obs.Host.System
		}
		found.report(Problem{Reason: NameUnusable, Severity: Error,
			Text: "the host name is " + quoted(got) + ": no certificate can be issued for it",
			Hint: "set the host name (sysrc hostname=…) or host.name in mailcertd.yaml"})
	case !strings.Contains(a.name, "."):
		found.report(Problem{Reason: NameUnqualified, Severity: Warning,
			Text: "the host name " + quoted(a.name) + " has no domain: peers cannot check it",
			Hint: "set a host name with a domain, or host.name in mailcertd.yaml"})
	}
	if seen := nameSeen(a); seen.Name != "" && !a.host.nameSettled() {
		found.lookAt(seen.Since.Add(nameSettles), "the new host name has lasted for a day")
		found.report(Problem{Reason: NameChanged, Severity: Warning, Path: certPath(a.host),
			Text: "the host name is " + a.name + " now, but the certificate is for " +
				strings.Join(CertNames(a.host.leaf), ", "),
			Hint: "mailcertd issues the certificate again when the name has lasted for a day; to do it now, run " +
				"`mailcertd renew`"})
	}
	return found
}

// nameSeen is a system name that differs from the certificate's, and since when it has been seen.
func nameSeen(a *assessment) state.NameSeen {
	p := a.host
	switch {
	case namesConfigured(p), a.name == "", p.leaf == nil, !p.owner.mine(), p.covers(p.leaf):
		return state.NameSeen{}
	case a.obs.State.Name.Name != a.name:
		return state.NameSeen{Name: a.name, Since: a.stamp()}
	}
	return a.obs.State.Name
}

// nameSettled reports whether the wanted names may replace those of the certificate: configured names at once, the
// system's after a day or when a person asked.
func (p *pair) nameSettled() bool {
	if namesConfigured(p) || p.wish.Renew || p.wish.Rekey {
		return true
	}
	seen := p.obs.State.Name
	return seen.Name == p.name && !seen.Since.IsZero() && p.now.Sub(seen.Since) >= nameSettles
}

// namesConfigured reports whether the names in which certificate and wish differ come from the configuration: the host
// name, or further names of a certificate that has the right host name.
func namesConfigured(p *pair) bool {
	return p.fromCfg || p.leaf != nil && slices.Contains(CertNames(p.leaf), pki.CanonicalName(p.name))
}

// CertNames returns the names in a certificate; one empty name where it has none.
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
