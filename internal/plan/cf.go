package plan

import (
	"fmt"
	"path/filepath"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/durable"
	"mailcertd/internal/mta"
)

// leadsTo says that a path in cf leads to a file of the certs directory, by its
// own name or through links; file "" is the directory itself.
func leadsTo(cf mta.CF, named string, d certdir.Dir, file string) bool {
	clean, real := filepath.Clean(named), cf.Resolved[named]
	if clean == filepath.Join(d.Path, file) {
		return true
	}
	if d.Node.Resolved == "" {
		return false
	}
	ours := filepath.Join(d.Node.Resolved, file)
	return clean == ours || real == ours || real != "" && real == entry(d, file).Resolved
}

// entry is what lies under a name that a sendmail.cf may have.
func entry(d certdir.Dir, file string) durable.Node {
	switch file {
	case certdir.CertName:
		return d.Cert.Node
	case certdir.KeyName:
		return d.Key.Node
	case certdir.CAName:
		return d.CA.Node
	case certdir.DHName:
		return d.DH.Node
	case certdir.CRLName:
		return d.CRL.Node
	}
	return durable.Node{}
}

// tlsOption is one option of sendmail.cf that names a file of the set.
type tlsOption struct {
	name     string
	file     string // where ours is, "" for the certs directory
	values   func(mta.CF) []string
	severity Severity
	means    string // what follows when it names something else
	lacking  string // what follows when it names nothing, "" for nothing
}

func single(get func(mta.CF) string) func(mta.CF) []string {
	return func(cf mta.CF) []string {
		if v := get(cf); v != "" {
			return []string{v}
		}
		return nil
	}
}

// tlsOptions are those options in the order in which they are told. That there
// is no ServerCertFile or no ServerKeyFile at all is CFNoTLS.
var tlsOptions = []tlsOption{
	{"ServerCertFile", certdir.CertName, func(cf mta.CF) []string { return cf.ServerCert }, Error,
		"sendmail serves that certificate", ""},
	{"ServerKeyFile", certdir.KeyName, func(cf mta.CF) []string { return cf.ServerKey }, Error,
		"the key must be the one of the certificate", ""},
	{"CACertFile", certdir.CAName, single(func(cf mta.CF) string { return cf.CACert }), Warning,
		"sendmail trusts the CAs in that file, not those kept here", "sendmail offers no STARTTLS without it"},
	{"CACertPath", "", single(func(cf mta.CF) string { return cf.CACertPath }), Warning,
		"sendmail looks for CAs there, not at the hash links kept here", "sendmail offers no STARTTLS without it"},
	{"ClientCertFile", certdir.CertName, func(cf mta.CF) []string { return cf.ClientCert }, Warning,
		"other hosts are shown that certificate", "other hosts are shown no certificate (verify=NO in their logs)"},
	{"ClientKeyFile", certdir.KeyName, func(cf mta.CF) []string { return cf.ClientKey }, Warning,
		"the key must be the one of the client certificate", "other hosts are shown no certificate (verify=NO in their logs)"},
	{"DHParameters", certdir.DHName, single(func(cf mta.CF) string { return cf.DH }), Warning,
		"dh.param is not used", ""},
}

// cfOthers are the options of cf that do not name what is kept here, what
// follows from each, and how bad the worst is.
func cfOthers(cf mta.CF, d certdir.Dir, crl bool) (texts []string, worst Severity) {
	say := func(s Severity, text string) {
		texts = append(texts, text)
		worst = max(worst, s)
	}
	options := tlsOptions
	if crl {
		options = append(options[:len(options):len(options)], tlsOption{"CRLFile", certdir.CRLName,
			single(func(cf mta.CF) string { return cf.CRL }), Warning, "the CRL that is kept here is not read", ""})
	}
	for _, o := range options {
		named := o.values(cf)
		ours := false
		for _, v := range named { // a second pair may lie anywhere
			ours = ours || leadsTo(cf, v, d, o.file)
		}
		switch {
		case ours:
		case len(named) > 0 && o.name == "DHParameters" && !strings.HasPrefix(named[0], "/"): // a group that sendmail has itself
		case len(named) > 0:
			say(o.severity, o.name+" is "+named[0]+", not "+filepath.Join(d.Path, o.file)+": "+o.means)
		case o.lacking == "":
		case strings.HasPrefix(o.name, "Client"):
			say(Notice, "there is no "+o.name+": "+o.lacking)
		default:
			say(Error, "there is no "+o.name+": "+o.lacking)
		}
	}
	return texts, worst
}

// cfProblems reports a sendmail.cf that does not read what mailcertd keeps.
func (a *assessment) cfProblems(p *Plan) {
	cf := a.obs.CF
	for _, text := range cf.Problems {
		p.report(Problem{Reason: CFProblem, Severity: Warning, Path: cf.Path, Text: text})
	}
	switch {
	case cf.Missing:
		p.report(Problem{Reason: CFMissing, Severity: Notice, Path: cf.Path,
			Text: "there is no sendmail.cf: sendmail's defaults are assumed"})
	case len(cf.ServerCert) == 0 || len(cf.ServerKey) == 0:
		p.report(Problem{Reason: CFNoTLS, Severity: Error, Path: cf.Path,
			Text: "names no TLS files: sendmail offers no STARTTLS, whatever lies in " + a.obs.Certs.Path,
			Hint: "add confSERVER_CERT, confSERVER_KEY, confCACERT and confCACERT_PATH to the host's .mc file (see freebsd.mc), then make -C /etc/mail install restart"})
	default:
		if texts, worst := cfOthers(cf, a.obs.Certs, a.cfg.CRL.Install); len(texts) > 0 {
			p.report(Problem{Reason: CFOther, Severity: worst, Path: cf.Path, Text: strings.Join(texts, "; "),
				Hint: "correct the .mc file, or set certs.dir in mailcertd.yaml"})
		}
	}
}

// submission tells once that local mail is handed in without a CA to check
// sendmail by.
func (a *assessment) submission(p *Plan) {
	cf := a.obs.Submit
	if cf == nil || cf.CACert != "" || cf.CACertPath != "" || !a.cfNamesOurs() {
		return
	}
	dir := a.obs.Certs.Path
	p.report(Problem{Reason: SubmitNoCA, Severity: Notice, Path: cf.Path,
		Text: "names no CA: every mail of a local program logs verify=FAIL, and is delivered all the same",
		Hint: fmt.Sprintf("define(`confCACERT', `%s') and define(`confCACERT_PATH', `%s') in the host's .submit.mc file, then make -C /etc/mail install",
			filepath.Join(dir, certdir.CAName), dir)})
}
