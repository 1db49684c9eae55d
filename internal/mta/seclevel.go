package mta

import (
	"strconv"
	"strings"

	"mailcertd/internal/pki"
)

// SecurityLevel is the level that CipherList sets (@SECLEVEL=N, openssl-ciphers(1)); false where it sets none. sendmail
// applies CipherList after it has loaded its certificates, so this level applies only to handshakes.
func (cf CF) SecurityLevel() (level int, set bool) { return cipherLevel(cf.CipherList) }

// Handshakes is l at the security level of handshakes.
func (cf CF) Handshakes(l pki.Libssl) pki.Libssl {
	if n, set := cf.SecurityLevel(); set {
		return l.AtLevel(n)
	}
	return l
}

// cipherLevel is the last @SECLEVEL=N in a cipher string, 0 to 5 as OpenSSL accepts it.
func cipherLevel(list string) (level int, set bool) {
	for {
		_, rest, found := strings.Cut(list, "@SECLEVEL=")
		if !found {
			return level, set
		}
		if rest != "" && rest[0] >= '0' && rest[0] <= '5' &&
			(len(rest) == 1 || strings.ContainsRune(": ;,+-!@", rune(rest[1]))) {
			level, set = int(rest[0]-'0'), true
		}
		list = rest
	}
}

// OpenSSLConf is the openssl.cnf of the base system, which libssl reads.
const OpenSSLConf = "/etc/ssl/openssl.cnf"

// ConfLevel is the security level that an openssl.cnf sets for every program (config(5): openssl_conf, ssl_conf,
// system_default, CipherString); false where it sets none. It applies when sendmail loads its certificates. The caller
// must have inserted included files into conf.
func ConfLevel(conf []byte) (level int, set bool) {
	sections := confSections(string(conf))
	at := sections["default"]["openssl_conf"]
	for _, name := range []string{"ssl_conf", "system_default"} {
		if at == "" {
			return 0, false
		}
		at = sections[at][name]
	}
	for name, value := range sections[at] {
		name = name[strings.LastIndexByte(name, '.')+1:]
		if at != "" && strings.EqualFold(name, "CipherString") {
			if n, ok := cipherLevel(value); ok {
				level, set = n, true
			}
		}
	}
	return level, set
}

// confSections returns the settings of an openssl.cnf by section, without expanding variables. Settings before the
// first section are in "default".
func confSections(text string) map[string]map[string]string {
	out := map[string]map[string]string{"default": {}}
	section := "default"
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\\\n", "")
	for line := range strings.SplitSeq(text, "\n") {
		if i := strings.IndexByte(line, '#'); i >= 0 && (i == 0 || line[i-1] != '\\') {
			line = line[:i]
		}
		line = strings.TrimSpace(line)
		if name, ok := strings.CutPrefix(line, "["); ok && strings.HasSuffix(name, "]") {
			section = strings.TrimSpace(strings.TrimSuffix(name, "]"))
			if out[section] == nil {
				out[section] = map[string]string{}
			}
			continue
		}
		if name, value, ok := strings.Cut(line, "="); ok {
			value = strings.TrimSpace(value)
			if q, err := strconv.Unquote(value); err == nil {
				value = q
			}
			out[section][strings.TrimSpace(name)] = value
		}
	}
	return out
}
