package acme

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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
		return fmt.Sprintf("`ss -ltnp sport = %d` says which program listens there", n)
	}
	return fmt.Sprintf("`sockstat -46l -p %d` says which program listens there", n)
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
