package plan

import (
	"strings"

	"mailcertd/internal/config"
)

// unused reports settings of dns that nothing uses. It is no error of the configuration: somebody who lets mailcertd
// publish no longer, for a while, keeps them. dns.zone and dns.resolver are used wherever the DNS is asked.
func unused(a *assessment) (found finding) {
	c := a.cfg
	byACME := c.Issuer.Kind == config.IssuerACME &&
		(c.Issuer.ACME.Challenge == config.ChallengeDNS || c.Issuer.ACME.Challenge == config.ChallengeDNSPersist)
	if c.DANE.Publish == config.PublishUpdate || byACME {
		return found
	}
	var set []string
	if c.DNS.Server != "" {
		set = append(set, "dns.server")
	}
	if c.DNS.KeyFile != "" {
		set = append(set, "dns.key_file")
	}
	if len(set) == 0 {
		return found
	}
	is, them := " is set, and nothing uses it", "it"
	if len(set) > 1 {
		is, them = " are set, and nothing uses them", "them"
	}
	found.report(Problem{Reason: SettingUnused, Severity: Notice, Path: c.Path,
		Text: strings.Join(set, " and ") + is + ": mailcertd changes no record in the DNS, because dane.publish is " +
			c.DANE.Publish + " and no ACME CA is asked with the challenge dns",
		Hint: "set dane.publish to update, or issuer.acme.challenge to dns, or remove " + them})
	return found
}
