package main

import (
	"fmt"
	"net"
	"path/filepath"
	"sort"
	"strings"

	"mailcertd/internal/config"
	"mailcertd/internal/durable"
	"mailcertd/internal/keeper"
	"mailcertd/internal/plan"
)

// enrolment is what `ca enrol` explains.
type enrolment struct {
	name    string
	from    []string
	key     string // the public ssh key, or a gap
	target  string
	command string // that sshd runs here
	cfg     config.Config
}

// printEnrolment prints the lines that go onto the two hosts, ready to be
// copied.
func (a *app) printEnrolment(r keeper.Result, e enrolment) error {
	own, _ := plan.HostName(e.cfg, r.Observed.Host)
	account := e.cfg.CA.Account
	from := e.from
	if len(from) == 0 {
		from, _ = net.LookupHost(e.name)
		sort.Strings(from)
	}
	note := ""
	if len(from) == 0 {
		from, note = []string{"ADDRESS"}, "# ADDRESS is where it logs in from: "+e.name+" could not be looked up (--from)\n"
	}
	if e.target == "" {
		e.target = account + "@" + own
	}
	w := a.out
	fmt.Fprintf(w, "%s is enrolled.\n\n", e.name)
	fmt.Fprintf(w, "# 1. here, once: the user that enrolled hosts log in as\n")
	fmt.Fprintf(w, "pw useradd %s -c \"mailcertd requests\" -d /var/spool/%s-home -m -s /bin/sh -h -\n", account, account)
	fmt.Fprintf(w, "install -d -o %s -m 0700 /var/spool/%s-home/.ssh\n\n", account, account)
	fmt.Fprintf(w, "# 2. on %s, once: its key for that\n", e.name)
	fmt.Fprintf(w, "ssh-keygen -t ed25519 -N '' -f /root/.ssh/mailcertd\n\n")
	fmt.Fprintf(w, "# 3. here: a line of /var/spool/%s-home/.ssh/authorized_keys\n%s", account, note)
	fmt.Fprintf(w, "restrict,from=\"%s\",command=\"%s\" %s\n\n", strings.Join(from, ","), e.command, e.key)
	fmt.Fprintf(w, "# 4. on %s: lines of /root/.ssh/known_hosts\n", e.name)
	host := e.target[strings.LastIndexByte(e.target, '@')+1:]
	lines := hostKeys(host)
	if len(lines) == 0 {
		lines = []string{"# (no host keys found here: ssh-keyscan " + host + ", and compare)"}
	}
	fmt.Fprintf(w, "%s\n\n", strings.Join(lines, "\n"))
	fmt.Fprintf(w, "# 5. on %s: /usr/local/etc/mailcertd.yaml, then `service mailcertd reload`\n", e.name)
	fmt.Fprintf(w, "issuer:\n  ssh:\n    target: %s\n    identity: /root/.ssh/mailcertd\n    known_hosts: /root/.ssh/known_hosts\n", e.target)
	a.printProblems(a.err, r.Plan)
	return nil
}

// forcedCommand is what sshd runs for a host, in the user's home: with absolute
// paths, and none that the shell or authorized_keys would read otherwise.
func (a *app) forcedCommand(name string) (string, error) {
	words := []string{executable()}
	if a.configPath != "" {
		path, err := absPath(a.configPath)
		if err != nil {
			return "", err
		}
		words = append(words, "--config", path)
	}
	if a.root != "" {
		words = append(words, "--root", a.root)
	}
	for _, w := range words {
		if strings.ContainsFunc(w, func(r rune) bool {
			return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/._+-@%,:=", r)
		}) {
			return "", usageError{fmt.Errorf("%q: no command in authorized_keys can hold this path: want one of letters, digits and ._+-/", w)}
		}
	}
	return strings.Join(append(words, "sign", "--submit", name), " "), nil
}

// hostKeys are this host's public ssh keys as known_hosts has them.
func hostKeys(host string) []string {
	files, _ := filepath.Glob("/etc/ssh/ssh_host_*_key.pub")
	sort.Strings(files)
	var out []string
	for _, f := range files {
		n := durable.Read(f, 16<<10)
		if line := knownHost(host, n.Data); n.Err == nil && line != "" {
			out = append(out, line)
		}
	}
	return out
}

// knownHost is the line in known_hosts for a public ssh key; "" where the file
// holds none, or one of the old DSA, which no ssh takes any more.
func knownHost(host string, pub []byte) string {
	w := strings.Fields(string(pub))
	if len(w) < 2 || w[0] == "ssh-dss" {
		return ""
	}
	return host + " " + w[0] + " " + w[1]
}
