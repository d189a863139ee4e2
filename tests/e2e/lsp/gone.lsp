# A server whose editor goes away without a word ends, and says so by its code.
send {"id":1,"method":"initialize","params":{"capabilities":{}}}
wait 1
exit 1
