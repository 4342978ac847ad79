require "json"
require "sinatra/base"

class App < Sinatra::Base
  get "/" do
    "Hello from Ruby #{RUBY_VERSION} and Sinatra #{Sinatra::VERSION}!\n"
  end

  get "/up/:word" do
    content_type :json
    JSON.generate(up: params["word"].upcase)
  end
end
