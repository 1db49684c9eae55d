package plan

import (
	"fmt"
	"path/filepath"
	"strings"

	"mailcertd/internal/certdir"
	"mailcertd/internal/config"
	"mailcertd/internal/mta"
)

// optionsFor returns the options of sendmail.cf for which this configuration has a file. The client's options are those
// of the configured client pair; they are left out where none is configured.
func optionsFor(cfg config.Config) []tlsOption {
	var out []tlsOption
	for _, o := range tlsOptions {
		if strings.HasPrefix(o.name, "Client") {
			switch cfg.Client.Kind {
			case config.ClientNone:
				continue
			case config.ClientOwn:
				o.file = map[string]string{certdir.CertName: certdir.Client.CertFile,
					certdir.KeyName: certdir.Client.KeyFile}[o.file]
			}
		}
		out = append(out, o)
	}
	if cfg.CRL.Install {
		out = append(out, tlsOption{"CRLFile", certdir.CRLName,
			single(func(cf mta.CF) string { return cf.CRL }), Warning,
			"sendmail does not read the CRL that mailcertd maintains", ""})
	}
	return out
}

// cfPairs says where cf and the configuration disagree about the second server pair or about a client that is to show
// no certificate. lines are the missing lines for the .mc file; none where the configuration asks for neither.
func cfPairs(cf mta.CF, d certdir.Dir, cfg config.Config) (texts, lines []string) {
	names := func(list []string, file string) bool {
		for _, v := range list {
			if leadsTo(cf, v, d, file) {
				return true
			}
		}
		return false
	}
	define := func(macro string, files ...string) { lines = append(lines, mcLine(macro, d.Path, files...)) }
	second := certdir.HostECDSA
	if cfg.Key.Second != "" && !namesPair(cf, d, second) {
		if names(cf.ServerCert, certdir.CertName) { // if it names no file of ours, another problem says so
			texts = append(texts,
				fmt.Sprintf("ServerCertFile and ServerKeyFile do not name %s and %s after a comma, so sendmail does "+
					"not serve the second pair",
					filepath.Join(d.Path, second.CertFile), filepath.Join(d.Path, second.KeyFile)))
		}
		define("confSERVER_CERT", certdir.CertName, second.CertFile)
		define("confSERVER_KEY", certdir.KeyName, second.KeyFile)
	}
	switch cfg.Client.Kind {
	case config.ClientNone:
		if len(cf.ClientCert) > 0 {
			texts = append(texts,
				fmt.Sprintf("ClientCertFile is %s, and client in mailcertd.yaml is none: sendmail presents that "+
					"certificate to other hosts",
					cf.ClientCert[0]))
		}
	case config.ClientOwn:
		if !names(cf.ClientCert, certdir.Client.CertFile) || !names(cf.ClientKey, certdir.Client.KeyFile) {
			lines = append(lines, clientLines(d)...)
		}
	}
	return texts, lines
}

// mcLine is a line of the .mc file that names files of a directory.
func mcLine(macro, dir string, files ...string) string {
	for i := range files {
		files[i] = filepath.Join(dir, files[i])
	}
	return fmt.Sprintf("define(`%s', `%s')", macro, strings.Join(files, ","))
}

// mcHint says which lines belong into the .mc file. The files must be installed first, because sendmail offers no
// STARTTLS while a named file is missing.
func mcHint(lines []string) string {
	if len(lines) == 0 {
		return "correct the host's .mc file and run `make -C /etc/mail install restart`, or correct mailcertd.yaml"
	}
	return "when these files exist, write " + strings.Join(lines, " and ") + " into the host's .mc file, in place of " +
		"its present lines for these options, then run `make -C /etc/mail install restart`"
}
