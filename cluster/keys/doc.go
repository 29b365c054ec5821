// Package keys makes and reads the identities of the nodes of a closed cluster.
//
// A key folder is made once (Init) on one machine and belongs to whoever runs the
// cluster. It has two parts:
//
//	authority/       what signs: the seeds of the operator and of the account, the
//	                 key of the certificate authority, and the list of what was
//	                 issued. It stays on that machine.
//	nodes/NAME/      what one node needs. It is copied to that node's machine, and
//	                 Load reads it.
//
// How a node proves who it is: its file node.creds holds a private key (an nkey)
// and a signed statement (a JWT). The statement says which node the key belongs
// to, which subjects it may use, and until when. The server sends a random number
// at each connection, the node signs it with the key, and the server checks both
// signatures: nothing secret travels. The statement is signed by the cluster's
// account key, so a new node needs no change on any server.
//
// What a node may do on other nodes (its rights, see Grants) is a part of the
// subjects that its statement allows. The server refuses every other subject, so
// a receiver reads the sender and its rights from the subject of a message.
//
// How a key is taken back: the account's own statement lists the revoked keys. It
// is signed by the operator and has a date, so servers take the newer one from
// whoever shows it to them: the file account.jwt in the folder of any node is
// enough, the engines pass it on.
//
// The certificates (node.pem, ca.pem) encrypt the connections and keep strangers
// from the port; who a node is depends on its statement alone. Connections between
// voters need a certificate that says "voter".
package keys
