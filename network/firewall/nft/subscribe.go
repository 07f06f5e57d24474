package nft

import (
	"bytes"
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"netctl/network/firewall"
)

const (
	// queue is the size of the queue of notifications, in bytes.
	queue = 16 << 20
	// group is NFNLGRP_NFTABLES: what nft monitor listens to.
	group = 7
	// tableName is the attribute that names the table in every message
	// about a table or something in it: NFTA_TABLE_NAME, NFTA_CHAIN_TABLE,
	// NFTA_RULE_TABLE, NFTA_SET_TABLE and so on.
	tableName = 1
	// nfgenmsg is the size of the header of every message (struct nfgenmsg).
	nfgenmsg = 4
)

// subscribe returns a socket that receives the notifications of nftables.
func subscribe() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, queue); err != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, queue)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1 << (group - 1)}); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "nfnetlink"), nil
}

// errLost says that notifications were dropped.
var errLost = errors.New("notifications lost")

// drain empties the queue of notifications and returns how many transactions
// have changed our tables.
func (f *Firewall) drain() (transactions int, err error) {
	conn, err := f.sub.SyscallConn()
	if err != nil {
		return 0, err
	}
	var rerr error
	touched := false
	err = conn.Control(func(fd uintptr) {
		for {
			n, _, err := unix.Recvfrom(int(fd), f.buf, 0)
			switch {
			case errors.Is(err, unix.EINTR):
			case errors.Is(err, unix.EAGAIN):
				return
			case errors.Is(err, unix.ENOBUFS):
				rerr = errLost
			case err != nil:
				rerr = os.NewSyscallError("recvfrom", err)
				return
			default:
				transactions += count(f.buf[:n], &touched)
			}
		}
	})
	return transactions, errors.Join(err, rerr)
}

// count returns how many transactions that changed our tables end in b. A
// transaction ends with the message about the new generation; touched keeps
// whether the one that has not ended yet changed them.
func count(b []byte, touched *bool) (n int) {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return 1
	}
	for _, m := range msgs {
		if m.Header.Type>>8 != unix.NFNL_SUBSYS_NFTABLES || len(m.Data) < nfgenmsg {
			continue
		}
		if m.Header.Type&0xff == unix.NFT_MSG_NEWGEN {
			if *touched {
				n++
			}
			*touched = false
			continue
		}
		*touched = *touched || ours(m.Data[0]) && tableOf(m.Data[nfgenmsg:]) == firewall.Table
	}
	return n
}

// ours reports whether one of our tables is of a family.
func ours(family byte) bool { return family == unix.NFPROTO_INET || family == unix.NFPROTO_BRIDGE }

// tableOf returns the name of the table that a message is about.
func tableOf(b []byte) string {
	name, _, _ := bytes.Cut(attributes(b)[tableName], []byte{0})
	return string(name)
}
