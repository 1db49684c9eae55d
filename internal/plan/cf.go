package plan

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/mta"
)

// tlsOption is one option of sendmail.cf that names a file of the set.
type tlsOption struct {
	name     string
	file     string // our file for it, "" for the certs directory
	values   func(mta.CF) []string
	severity Severity
	means    string // the effect when it names another file
	lacking  string // the effect when it is not set, "" if there is none
}

func single(get func(mta.CF) string) func(mta.CF) []string {
	return func(cf mta.CF) []string {
		if v := get(cf); v != "" {
			return []string{v}
		}
		return nil
	}
}

// tlsOptions are those options in the order in which they are reported. CFNoTLS covers a cf without ServerCertFile or
// ServerKeyFile.
var tlsOptions = []tlsOption{
	{"ServerCertFile", certdir.CertName, func(cf mta.CF) []string { return cf.ServerCert }, Error,
		"sendmail serves that certificate", ""},
	{"ServerKeyFile", certdir.KeyName, func(cf mta.CF) []string { return cf.ServerKey }, Error,
		"sendmail needs the key of the certificate that it serves", ""},
	{"CACertFile", certdir.CAName, single(func(cf mta.CF) string { return cf.CACert }), Warning,
		"sendmail trusts the CAs in that file, not those that mailcertd maintains",
		"sendmail offers no STARTTLS without it"},
	{"CACertPath", "", single(func(cf mta.CF) string { return cf.CACertPath }), Warning,
		"sendmail looks for CAs there, not at the hash links that mailcertd maintains",
		"sendmail offers no STARTTLS without it"},
	{"ClientCertFile", certdir.CertName, func(cf mta.CF) []string { return cf.ClientCert }, Warning,
		"sendmail presents that certificate to other hosts",
		"sendmail presents no certificate to other hosts (verify=NO in their logs)"},
	{"ClientKeyFile", certdir.KeyName, func(cf mta.CF) []string { return cf.ClientKey }, Warning,
		"sendmail needs the key of the certificate that it presents",
		"sendmail presents no certificate to other hosts (verify=NO in their logs)"},
	{"DHParameters", certdir.DHName, single(func(cf mta.CF) string { return cf.DH }), Warning,
		"sendmail does not use dh.param", ""},
}

// otherOption is an option of cf that does not name our file, and the effect of that.
type otherOption struct {
	severity Severity
	text     string
}

// cfOthers lists those options. hint says how to correct them.
func cfOthers(cf mta.CF, d certdir.Dir, cfg config.Config) (others []otherOption, hint string) {
	say := func(s Severity, text string) { others = append(others, otherOption{s, text}) }
	for _, o := range optionsFor(cfg) {
		named := o.values(cf)
		ours := false
		for _, v := range named { // the second pair may be in any directory
			ours = ours || leadsTo(cf, v, d, o.file)
		}
		switch {
		case ours:
		case len(named) > 0 && o.name == "DHParameters" &&
			!strings.HasPrefix(named[0], "/"): // the name of a group that sendmail has built in
		case len(named) > 0:
			say(o.severity, o.name+" is "+named[0]+", not "+filepath.Join(d.Path, o.file)+": "+o.means)
		case o.lacking == "" || o.name == "ClientKeyFile" && len(cf.ClientCert) == 0: // said with the cert
		case strings.HasPrefix(o.name, "Client"):
			say(Notice, "there is no "+o.name+": "+o.lacking)
		default:
			say(Error, "there is no "+o.name+": "+o.lacking)
		}
	}
	hint = "correct the host's .mc file, then run `make -C /etc/mail install restart`; or set certs.dir in " +
		"mailcertd.yaml"
	if cfg.Client.Kind == config.ClientSame && namesPair(cf, d, certdir.Client) &&
		!slices.ContainsFunc(others, func(o otherOption) bool { return !strings.HasPrefix(o.text, "Client") }) {
		hint = "if mailcertd should maintain that pair, write `client: {issuer: local}` into mailcertd.yaml; " +
			"otherwise name host.cert and host.key in the host's .mc file"
	}
	pairs, lines := cfPairs(cf, d, cfg)
	if len(pairs) > 0 || len(others) > 0 && len(lines) > 0 {
		hint = mcHint(lines)
	}
	for _, text := range pairs {
		say(Warning, text)
	}
	return others, hint
}

// joined puts the texts into one and returns the highest severity.
func joined(others []otherOption) (text string, worst Severity) {
	var texts []string
	for _, o := range others {
		texts, worst = append(texts, o.text), max(worst, o.severity)
	}
	return strings.Join(texts, "; "), worst
}

// cfProblems reports a sendmail.cf that does not read what mailcertd keeps.
func cfProblems(a *assessment) (found finding) {
	cf := a.obs.CF
	for _, text := range cf.Problems {
		found.report(Problem{Reason: CFProblem, Severity: Warning, Path: cf.Path, Text: text})
	}
	found = found.and(runningCF(a))
	switch {
	case cf.Missing:
		found.report(Problem{Reason: CFMissing, Severity: Notice, Path: cf.Path,
			Text: "there is no sendmail.cf: mailcertd assumes that it will name the files in " + a.obs.Certs.Path})
	case len(cf.ServerCert) == 0 || len(cf.ServerKey) == 0:
		found.report(Problem{Reason: CFNoTLS, Severity: Error, Path: cf.Path,
			Text: "names no TLS files, so sendmail offers no STARTTLS, whatever is in " + a.obs.Certs.Path,
			Hint: "add confSERVER_CERT, confSERVER_KEY, confCACERT and confCACERT_PATH to the host's .mc file (see " +
				"freebsd.mc), then run `make -C /etc/mail install restart`"})
	default:
		others, hint := cfOthers(cf, a.obs.Certs, a.cfg)
		_, worst := joined(others)
		if a.tlsa.Governed && a.cfg.Key.Second != "" && !namesPair(cf, a.obs.Certs, certdir.HostECDSA) {
			hint = "wait until every name server has had the TLSA record of the second pair, which " +
				"`mailcertd status` shows, for as long as its TTL; " + hint
		}
		for _, o := range others { // the first of the worst is shown first and has the hint for all
			pr := Problem{Reason: CFOther, Severity: o.severity, Path: cf.Path, Text: o.text}
			if o.severity == worst {
				pr.Hint, hint = hint, ""
			}
			found.report(pr)
		}
	}
	return found
}

// runningCF reports a sendmail that runs with another cf or other options than a new start would use, where the
// difference matters.
func runningCF(a *assessment) (found finding) {
	running := a.obs.RunningCF
	if running == nil || a.obs.CF.Missing {
		return found
	}
	said, _ := cfOthers(a.obs.CF, a.obs.Certs, a.cfg)
	others, _ := cfOthers(*running, a.obs.Certs, a.cfg)
	if len(running.ServerCert) == 0 || len(running.ServerKey) == 0 {
		others = []otherOption{{Error, "it names no TLS files: sendmail offers no STARTTLS"}}
	}
	if len(others) == 0 || slices.Equal(said, others) {
		return found
	}
	text, worst := joined(others)
	found.report(Problem{Reason: CFOther, Severity: worst, Path: running.Path,
		Text: fmt.Sprintf("the running sendmail (pid %d) was started with this file (%q): %s", a.obs.MTA.PID,
			strings.Join(a.obs.MTA.Argv, " "), text),
		Hint: "correct this file, or run `service sendmail restart`, which starts sendmail as rc.conf says"})
	return found
}

// submission reports a submit.cf without a CA: local mail is then handed in without verifying sendmail's certificate.
func submission(a *assessment) (found finding) {
	cf := a.obs.Submit
	if cf == nil || cf.CACert != "" || cf.CACertPath != "" || !a.cfNamesOurs() {
		return found
	}
	dir := a.obs.Certs.Path
	found.report(Problem{Reason: SubmitNoCA, Severity: Notice, Path: cf.Path,
		Text: "names no CA: every mail from a local program logs verify=FAIL, and is still delivered",
		Hint: fmt.Sprintf("add define(`confCACERT', `%s') and define(`confCACERT_PATH', `%s') to the host's "+
			".submit.mc file, then run `make -C /etc/mail install`",
			filepath.Join(dir, certdir.CAName), dir)})
	return found
}
