import { Gateway } from "./client.mjs"

const at = (id) => document.getElementById(id)
const query = new URLSearchParams(location.search)
const user = query.get("user") ?? `guest-${Math.floor(Math.random() * 1e6)}`
const here = location.origin.replace(/^http/, "ws")
const urls = query.get("nodes")?.split(",") ?? [here]

function came(text) {
	const li = document.createElement("li")
	li.textContent = text // what others write is text, never markup
	at("came").append(li)
	while (at("came").children.length > 200) at("came").firstChild.remove()
}

const gateway = new Gateway(urls, user, {
	state: (state, more) => (at("state").textContent = [state, more].filter(Boolean).join(" ")),
	message: (m) => came(`${m.from}: ${m.text}`),
	line: (l) => came(`${l.room}: ${l.from}: ${l.text}`),
	missed: (m) => came(`${m.room}: ${m.count} lines were missed`),
	refused: (r) => came(`refused: ${r.why}`),
	presence: (p) => {
		const id = `user-${p.user}`
		const li = at(id) ?? Object.assign(document.createElement("li"), { id })
		li.textContent = `${p.user}: ${p.online ? "online" : "offline"}`
		at("online").append(li)
	},
})
at("user").textContent = user

function onSubmit(id, fn) {
	at(id).onsubmit = (e) => {
		e.preventDefault()
		fn(Object.fromEntries(new FormData(e.target)))
	}
}
onSubmit("send", ({ to, text }) =>
	gateway.send(to, text).then(
		() => came(`${to} has: ${text}`),
		(why) => came(`not accepted: ${why.message}`),
	),
)
onSubmit("room", ({ room, text }) => {
	gateway.join(room)
	if (text) gateway.sayIn(room, text).catch((why) => came(`not said: ${why.message}`))
})
onSubmit("watch", ({ user }) => gateway.watch(user))
