package acme

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"mailcertd/internal/command"
	"mailcertd/internal/text"
)

// holder returns a sentence that says which program listens on a port, or how to find out.
func holder(address string) string {
	_, port, _ := net.SplitHostPort(address)
	n, err := net.LookupPort("tcp", port)
	if err != nil {
		return "another program listens there"
	}
	if runtime.GOOS == "linux" {
		if who := linuxHolder(n); who != "" {
			return who + " listens there"
		}
		return fmt.Sprintf("run `ss -ltnp sport = %d` to see which program listens there", n)
	}
	said, err := command.Command{Argv: []string{"sockstat", "-46lq", "-P", "tcp", "-p", strconv.Itoa(n)},
		Patience: sockstatIn}.Run(context.Background())
	if who := sockstatHolder(string(said.Out)); err == nil && who != "" {
		return who + " listens there"
	}
	return fmt.Sprintf("run `sockstat -46l -p %d` to see which program listens there", n)
}

// sockstatIn bounds sockstat(1), which reads the sockets of the whole system.
const sockstatIn = 3 * time.Second

// sockstatHolder returns the name and the process ID in the first line of sockstat(1) -q; "" means that there is none.
func sockstatHolder(lines string) string {
	line, _, _ := strings.Cut(lines, "\n")
	v := strings.Fields(line) // user, command, process ID, descriptor, protocol, local address, foreign address
	if len(v) < 6 {
		return ""
	}
	if n, err := strconv.Atoi(v[2]); err != nil || n < 1 {
		return "" // it is not known, or the name of the program has blanks
	}
	return fmt.Sprintf("%s (process %s)", text.OneLine(v[1], 60), v[2])
}

// linuxHolder returns the name and the process ID of the program that listens on a port; "" means that it was not
// found, for example because it belongs to another user.
func linuxHolder(port int) string {
	sockets := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		f, err := os.Open(table)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			// proc(5): sl, local address, remote address, state (0A: listening), …, inode
			if v := strings.Fields(lines.Text()); len(v) > 9 && v[3] == "0A" && portOf(v[1]) == port {
				sockets["socket:["+v[9]+"]"] = true
			}
		}
		_ = f.Close()
	}
	if len(sockets) == 0 {
		return ""
	}
	links, _ := filepath.Glob("/proc/[0-9]*/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && sockets[to] {
			pid := strings.Split(link, "/")[2]
			name, _ := os.ReadFile(filepath.Join("/proc", pid, "comm"))
			return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), pid)
		}
	}
	return ""
}

// portOf returns the port of an address in hex, such as 0100007F:0050.
func portOf(address string) int {
	_, port, _ := strings.Cut(address, ":")
	if b, err := hex.DecodeString(port); err != nil || len(b) != 2 {
		return -1
	}
	n, _ := strconv.ParseUint(port, 16, 16)
	return int(n)
}
