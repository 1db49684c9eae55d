package bed

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// cfDir is the directory with sendmail's m4 sources in the system's package.
const cfDir = "/usr/share/sendmail/cf"

// anyName takes the place of the host's name in the generated cf, so that one cf serves for every host.
const anyName = "name.placeholder.test"

// mc is FreeBSD's certificate block (freebsd.mc), with the lines that a test host needs.
const mc = "divert(0)dnl\nVERSIONID(`bed')\nOSTYPE(freebsd6)\nDOMAIN(generic)\n" +
	"define(`CERT_DIR', `/etc/mail/certs')dnl\n" +
	"define(`confSERVER_CERT', `CERT_DIR/host.cert')dnl\n" +
	"define(`confSERVER_KEY', `CERT_DIR/host.key')dnl\n" +
	"define(`confCLIENT_CERT', `CERT_DIR/host.cert')dnl\n" +
	"define(`confCLIENT_KEY', `CERT_DIR/host.key')dnl\n" +
	"define(`confCACERT', `CERT_DIR/cacert.pem')dnl\n" +
	"define(`confCACERT_PATH', `CERT_DIR')dnl\n" +
	"define(`confDH_PARAMETERS', `CERT_DIR/dh.param')dnl\n" +
	"define(`confDOMAIN_NAME', `" + anyName + "')dnl\n" +
	"define(`confLOG_LEVEL', `14')dnl\n" +
	"define(`confPID_FILE', `/var/run/sendmail.pid')dnl\n" +
	"define(`STATUS_FILE', `/var/spool/sendmail.st')dnl\n" +
	"define(`ALIAS_FILE', `/etc/mail/aliases')dnl\n" +
	"define(`confSERVICE_SWITCH_FILE', `/etc/mail/service.switch')dnl\n" +
	"define(`confDEF_USER_ID', `mail:mail')dnl\n" +
	"define(`confTO_IDENT', `0')dnl\ndefine(`confQUEUE_LA', `999')dnl\ndefine(`confREFUSE_LA', `999')dnl\n" +
	"define(`confDONT_PROBE_INTERFACES', `True')dnl\n" +
	"FEATURE(`nocanonify')dnl\nFEATURE(`accept_unresolvable_domains')dnl\nFEATURE(`no_default_msa')dnl\n" +
	"FEATURE(`mailertable', `hash -o /etc/mail/mailertable')dnl\n" +
	"FEATURE(`local_lmtp', `/usr/libexec/sendmail/mail.local')dnl\n" +
	"DAEMON_OPTIONS(`Name=IPv4, Family=inet')dnl\nMAILER(local)dnl\nMAILER(smtp)dnl\n"

// MC is the source of the sendmail.cf of a host of that name, without changes.
func MC(name string) string { return strings.ReplaceAll(mc, anyName, name) }

// made has the sendmail.cf for anyName by the m4 lines that were added to mc. Each is made once, because m4 is slow.
// making guards it.
var (
	made   = map[string]string{}
	making sync.Mutex
)

func baseCF(more string) (string, error) {
	making.Lock()
	defer making.Unlock()
	if cf, ok := made[more]; ok {
		return cf, nil
	}
	dir, err := os.MkdirTemp("", "bed-cf")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	in := filepath.Join(dir, "sendmail.mc")
	if err := os.WriteFile(in, []byte(strings.Replace(mc, "MAILER(local)", more+"MAILER(local)", 1)),
		0o600); err != nil {
		return "", err
	}
	var errs bytes.Buffer
	cmd := exec.Command("m4", "-D_CF_DIR_="+cfDir+"/", cfDir+"/m4/cf.m4", in)
	cmd.Dir = cfDir + "/cf"
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("m4: %w: %s", err, errs.String())
	}
	made[more] = string(out)
	return string(out), nil
}

// CF returns a sendmail.cf for a host with that name. A change "old=>new" replaces text in an option line, such as
// "PidFile=/var/run/sendmail.pid=>PidFile=/x". A change that begins with + is a line to be added to sendmail.cf, one
// that begins with @ is a line for m4, such as a FEATURE. It fails where no option line has the text old.
func CF(name string, changes ...string) (string, error) {
	var more strings.Builder
	for _, c := range changes {
		if line, m4 := strings.CutPrefix(c, "@"); m4 {
			more.WriteString(line + "\n")
		}
	}
	cf, err := baseCF(more.String())
	if err != nil {
		return "", err
	}
	cf = strings.ReplaceAll(cf, anyName, name)
	for _, c := range changes {
		if strings.HasPrefix(c, "@") {
			continue
		}
		if line, add := strings.CutPrefix(c, "+"); add {
			cf = strings.Replace(cf, "\nO PidFile", "\n"+line+"\nO PidFile", 1)
			continue
		}
		old, new, _ := strings.Cut(c, "=>")
		if !strings.Contains(cf, old) {
			return "", fmt.Errorf("sendmail.cf has no %q", old)
		}
		cf = strings.ReplaceAll(cf, old, new)
	}
	return cf, nil
}
